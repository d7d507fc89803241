"""Server processes of a benchmark: started on given cores, watched until they listen, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HOST = "127.0.0.1"
START_S = 20.0
STOP_S = 10.0
POLL_S = 0.01


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as trial:
        trial.bind((HOST, 0))
        port: int = trial.getsockname()[1]
        return port


@contextlib.contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Run on these cores meanwhile; processes started meanwhile stay on them."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ServerProcess:
    """One process of a server, with its output in a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: Sequence[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._log = log
        with pinned(cores), log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603  # a server of ours
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if environment is None else dict(environment),
                cwd=folder,
                start_new_session=True,  # its children go with it
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All it has printed."""
        return self._log.read_text(errors="replace")

    def wait_until(self, is_ready: Callable[[], bool], *, within_s: float = START_S) -> None:
        """Wait for a fact; raise with the output if it ends, or takes too long."""
        end = time.monotonic() + within_s
        while not is_ready():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._process.args!r} ended at its start:\n{self.output}")
            if time.monotonic() > end:
                raise RuntimeError(f"{self._process.args!r} is not ready:\n{self.output}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """SIGKILL it and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(STOP_S)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that takes too long."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        self.kill()


def is_listening(port: int) -> bool:
    """Whether a connection is accepted."""
    with socket.socket() as trial:
        trial.settimeout(1.0)
        return trial.connect_ex((HOST, port)) == 0


def descendants(pid: int) -> list[int]:
    """A process and all its children, as far as they live."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found
