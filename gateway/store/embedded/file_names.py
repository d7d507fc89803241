"""The names of the files in a data folder."""

from __future__ import annotations

# What a data folder holds. Whatever else is in there is not ours to touch.
SECRET_FILE = "dev-secret"  # noqa: S105  # a file's name
FOLDERS = ("appendonlydir", "workers")
FILES = ("lock", SECRET_FILE, "server.log", "server.log.1", "server.sock")
