"""The folder of an embedded server: who holds it, where its socket is, what its log says.

    <folder>/lock            flock'ed as long as a server runs on the folder; holds two pids
    <folder>/server.sock     the socket, mode 700
    <folder>/server.log      the server's own log, and server.log.1 before it
    <folder>/dev-secret      the secret of `gateway serve --dev`
    <folder>/appendonlydir   the data
    <folder>/workers         the marks of workers (worker_mark.py)

Nothing of it is for other users (file_modes.py). All calls are short and touch local files only;
none but `sync` waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from gateway.errors import DataFolderInUse
from gateway.store.embedded.file_modes import close_to_others

if TYPE_CHECKING:
    from typing import Self

SOCKET_PATH_MAX_BYTES = 103  # sun_path with its NUL: 108 bytes on Linux (unix(7)), 104 on macOS
LOG_MAX_BYTES = 1_048_576  # a server at level `notice` writes about 1 KiB a start
FULL_DISK_BYTES = 65_536  # with less free than this, a failed start is blamed on the disk
APPENDED = "appendonlydir/*.incr.aof"  # what the server appends to; it syncs the others itself
_ELSEWHERE = "or choose another folder with GATEWAY_DATA_DIR"
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the other
_LOG_PREFIX = re.compile(r"^\d+:\S+ \d+ \w+ \d{4} [\d:.]+ (?P<level>[.\-*#]) ")


class Holder(NamedTuple):
    """Who runs a folder's server: its pid, and the pid of the gateway that started it."""

    server_pid: int
    owner_pid: int


class FolderLock:
    """The lock of a folder, held until every copy of its descriptor is closed.

    The server inherits the descriptor (`fd`), so the lock lives exactly as long as the server
    once the `with` block has closed ours, however we or the server end.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def remember(self, holder: Holder) -> None:
        """Write who holds the folder, for `DataFolder.holder`."""
        text = f"{holder.server_pid} {holder.owner_pid}\n".encode()
        with suppress(OSError):  # a full disk; newcomers then wait a little before they join
            os.pwrite(self.fd, text, 0)
            os.truncate(self.fd, len(text))


class DataFolder:
    """One data folder. Its methods raise DataFolderInUse when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.log_path = self.path / "server.log"
        self._lock_path = self.path / "lock"
        self._log_offset = 0
        self._synced: dict[str, int] = {}  # the size of each file when it was synced last

    def unusable(self, problem: str) -> DataFolderInUse:
        """Return the error that names this folder and the problem."""
        return DataFolderInUse(str(self.path), problem)

    def _denied(self, exc: OSError) -> DataFolderInUse:
        why = exc.strerror or str(exc)
        return self.unusable(f"cannot be written ({why}); mend that, {_ELSEWHERE}")

    def prepare(self) -> None:
        """Make the folder, private to us; in one that exists, what others may open is closed."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            close_to_others(self.path)
        except OSError as exc:
            raise self._denied(exc) from exc

    def try_lock(self) -> FolderLock | None:
        """Take the lock, or return None when a server (or one being started) has it."""
        try:
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise self._denied(exc) from exc
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError as exc:  # ENOLCK: a file system without locks
            os.close(fd)
            raise self._denied(exc) from exc
        return FolderLock(fd)

    def holder(self) -> Holder | None:
        """Return who was last known to run the server; None if nobody, or if it is leaving."""
        try:
            server_pid, owner_pid = self._lock_path.read_text().split()
            return Holder(int(server_pid), int(owner_pid))
        except (OSError, ValueError):
            return None

    def forget_holder(self) -> None:
        """Tell newcomers that the server is about to stop, so that they wait it out."""
        with suppress(OSError):
            os.truncate(self._lock_path, 0)

    def is_being_left(self) -> bool:
        """Whether the server that runs here has lost its owner, and so is about to end.

        May be wrong between containers that share a folder but not their pids: wait on it for a
        limited time only. Never true off Linux, where servers outlive their owner.
        """
        if sys.platform != "linux":
            return False
        holder = self.holder()
        return holder is None or _parent_pid(holder.server_pid) != holder.owner_pid

    def socket_path(self) -> str:
        """Return a path of the socket that fits into a socket address.

        When the folder's own path is too long, the path goes through a symbolic link to the
        folder, made in a private folder under the temporary one: the socket itself is in the
        data folder always, so processes with other temporary folders meet on it too.
        """
        path = self.path / "server.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX_BYTES:
            return str(path)
        try:
            short = self._short_link() / "server.sock"
        except OSError as exc:
            problem = f"its path is too long for a socket, and a short link to it failed ({exc})"
            raise self.unusable(f"{problem}; choose a shorter GATEWAY_DATA_DIR") from exc
        if len(os.fsencode(short)) > SOCKET_PATH_MAX_BYTES:
            raise self.unusable("its path is too long; choose a shorter GATEWAY_DATA_DIR")
        return str(short)

    def _short_link(self) -> Path:
        links = private_folder()
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()
        link = links / digest[:16]
        if not link.is_symlink() or link.readlink() != self.path:
            fresh = links / f"{digest[:16]}.{os.getpid()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(self.path)
            fresh.rename(link)  # atomic: others see the old one or the new one
        return link

    def sync(self) -> list[str]:
        """Have what the server has written on the disk; return the files that had grown.

        Blocks for as long as the disk takes; call it from one thread at a time.

        Raises:
            OSError: the disk did not take it.
        """
        synced, self._synced = self._synced, {}
        for path in self.path.glob(APPENDED):
            with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:  # rewritten
                size = os.fstat(file.fileno()).st_size
                if size != synced.get(path.name):
                    _sync(file.fileno())
                self._synced[path.name] = size
        return [name for name, size in self._synced.items() if size != synced.get(name)]

    def open_log(self) -> BinaryIO:
        """Open the log, rotated, to append what a server says before and beside its own logging."""
        try:
            self.rotate_log()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            output = os.fdopen(os.open(self.log_path, flags, 0o600), "ab")
        except OSError as exc:
            raise self._denied(exc) from exc
        self._log_offset = output.tell()
        return output

    def rotate_log(self) -> None:
        """Put a long log aside, over the one before. The server opens it anew for each line."""
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_MAX_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def why_it_ended(self) -> str:
        """Say why a server ended, from what it logged since `open_log` and the disk's state."""
        if shutil.disk_usage(self.path).free < FULL_DISK_BYTES:
            return f"the disk is full; free some space, {_ELSEWHERE}"
        said = b""
        with suppress(OSError), self.log_path.open("rb") as log:
            log.seek(self._log_offset)
            said = log.read(LOG_MAX_BYTES)
        complaints = _complaints(said.decode(errors="replace"))
        mend = f"see {self.log_path}; keep a copy of the folder, then mend that, {_ELSEWHERE}"
        return f"{complaints} ({mend})"


def is_data_folder(path: Path) -> bool:
    """Whether an embedded server runs there, or has."""
    return (path / "lock").is_file()


def private_folder() -> Path:
    """Return a folder under the temporary one that only we can use.

    Raises:
        OSError: there is none.
    """
    folder = Path(tempfile.gettempdir()) / f"gateway-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of ours")
    return folder


def _complaints(log: str) -> str:
    """Return the last warnings of a server's log, without their prefixes."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    loud = [
        line
        for line in lines
        if (prefix := _LOG_PREFIX.match(line)) is None or prefix["level"] == "#"
        if "overcommit" not in line  # said at each start on most machines, and harmless here
    ]
    kept = (loud or lines)[-3:]
    return " ".join(_LOG_PREFIX.sub("", line) for line in kept) or "it logged nothing"


def _parent_pid(pid: int) -> int | None:
    """Return the parent of a process of this machine; None if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(status.rpartition(")")[2].split()[1])  # proc(5): pid (name) state ppid …
