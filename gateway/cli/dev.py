"""The secret of `--dev`: made once, kept in the data folder, readable by this user only."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from gateway.errors import DataFolderInUse

if TYPE_CHECKING:
    from pathlib import Path

DEV_TOKEN_TTL_S = 30 * 86_400  # a demonstration left open over a holiday still works
SECRET_FILE = "dev-secret"  # noqa: S105  # a file's name


def dev_secret(data_dir: Path) -> str:
    """The secret of this data folder, made if there is none.

    Raises:
        DataFolderInUse: the folder cannot be written.
    """
    path = data_dir / SECRET_FILE
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        fresh = data_dir / f".{SECRET_FILE}.{os.getpid()}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        try:
            os.link(fresh, path)  # atomic: of two starts at once, one's secret is kept
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return path.read_text().strip()
    except OSError as exc:
        raise DataFolderInUse(str(data_dir), f"cannot keep a secret there: {exc}") from exc


def folder_with_secret(data_dir: Path) -> Path | None:
    """The data folder of a gateway with `--dev`: this one, or one of its name further up.

    So commands find it from anywhere in a clone in which `make run` was called. Only folders of
    this user are looked at.
    """
    for above in (data_dir.parent, *data_dir.parent.parents):
        folder = above / data_dir.name
        if _is_ours(folder / SECRET_FILE):
            return folder
    return None


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.getuid()
    except OSError:
        return False


def find_dev_secret(data_dir: Path) -> str | None:
    """The secret of a gateway that ran with `--dev` on this folder, if one did."""
    try:
        return (data_dir / SECRET_FILE).read_text().strip() or None
    except OSError:
        return None
