"""What a data folder holds is for this user alone: its server has no password, its data is plain.

The server and the gateway make every file so (a umask of 077). This mends what an earlier version,
a copy or a backup left open, and tells of what it may not touch.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import structlog

from gateway.store.embedded.file_names import FILES, FOLDERS, SECRET_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO

_log = structlog.get_logger(__name__)


def close_to_others(folder: Path) -> None:
    """Take from other users what they may do in a data folder.

    The folder itself keeps its mode if it has another owner, or holds more than a data folder does:
    it may be somebody's home, or `/tmp`. Then the log says so, and the files are closed alone.

    Raises:
        OSError: the folder cannot be read.
    """
    mended = [path for path in (*_folder_if_ours(folder), *_ours_in(folder)) if _closed(path)]
    if mended:
        _log.warning("data_folder_mended", folder=str(folder), files=[path.name for path in mended])
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS:
        _log.warning("data_folder_open", folder=str(folder), mode=f"{mode:04o}")


def belongs_to_another(path: Path) -> bool:
    """Whether another user made this file, and so knows what is in it. Root trusts everybody."""
    return os.getuid() not in {0, path.lstat().st_uid}


def _folder_if_ours(folder: Path) -> Iterator[Path]:
    is_shared = folder.stat().st_mode & stat.S_ISVTX
    strangers = [
        path
        for path in folder.iterdir()
        if path.name not in FOLDERS + FILES and not path.name.startswith(f".{SECRET_FILE}.")
    ]
    if not is_shared and not strangers:
        yield folder


def _ours_in(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in FILES)
    for inner in (folder / name for name in FOLDERS):
        if inner.is_dir() and not inner.is_symlink():
            yield inner
            yield from inner.iterdir()


def _closed(path: Path) -> bool:
    """Close it; False if it was closed, is not there, or is another's."""
    try:
        found = path.lstat()
        if found.st_uid != os.getuid() or stat.S_ISLNK(found.st_mode):
            return False
        if not found.st_mode & OTHERS:
            return False
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
    except OSError:  # gone meanwhile, or a file system without modes
        return False
    return True
