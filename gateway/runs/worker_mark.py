"""The mark of a worker: a locked file, which tells other workers of this machine that it has died.

    <folder>/<worker id>     flock'ed as long as the worker's process lives

The kernel lets the lock go with the process, however it ends. Where marks cannot be made nobody is
known to have died, and leases end by their time.

All calls are short and touch local files only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.store.embedded.data_folder import is_data_folder, private_folder

if TYPE_CHECKING:
    from typing import Self

FOLDER = "workers"  # in a data folder


class WorkerMark:
    """A worker's file, locked by us."""

    def __init__(self, path: Path, fd: int) -> None:
        self.worker_id = path.name
        self._path = path
        self._fd = fd

    @classmethod
    def make(cls, folder: Path, worker_id: str) -> Self:
        """Say that a worker lives.

        Raises:
            OSError: it cannot be said there.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, fresh = folder / worker_id, folder / f".{worker_id}"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.rename(path)  # it is never seen unlocked
        except OSError:
            os.close(fd)
            raise
        return cls(path, fd)

    def remove(self) -> None:
        """There is no such worker any more, and nothing of it is left."""
        with suppress(OSError):
            self._path.unlink()
        self.let_go()

    def let_go(self) -> None:
        """Unlock it, and leave it to others."""
        os.close(self._fd)


def marks_of_the_dead(folder: Path) -> list[WorkerMark]:
    """Take the marks of workers that have died; to be removed, or let go."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            if not path.name.startswith("."):
                found += _taken(path)
    return found


def marks_folder(redis_url: str, prefix: str) -> Path:
    """Where workers on this Redis leave their marks: in its data folder, if it has one here.

    Raises:
        OSError: there is no place for them.
    """
    url = urlsplit(redis_url)
    if url.scheme == "unix" and is_data_folder(folder := Path(unquote(url.path)).parent):
        return folder / FOLDER
    digest = hashlib.sha256(f"{redis_url} {prefix}".encode()).hexdigest()
    return private_folder() / f"{FOLDER}-{digest[:16]}"


def _taken(path: Path) -> list[WorkerMark]:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it lives
        os.close(fd)
        return []
    return [WorkerMark(path, fd)]
