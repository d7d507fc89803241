"""Gateways to test: a real process that can be killed, and one in this process with its clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import psutil

from gateway.app import create_app
from gateway.clock import Clock
from gateway.settings import load_settings
from gateway.store.embedded.die_with_parent import dying_with_us
from gateway.transport import GatewayServer, uvicorn_config
from tests.support.eventually import eventually, eventually_blocking
from tests.support.ports import HOST, free_port
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

ROOT = Path(__file__).parents[2]
START_S = 20.0
STOP_S = 20.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
# Limits that no test of something else should run into.
GENEROUS: dict[str, float | str] = {
    "requests_per_s": 100_000,
    "requests_burst": 100_000,
    "subject_requests_per_s": 100_000,
    "subject_requests_burst": 100_000,
    "max_connections_per_subject": 1_000,
    "created_per_hour": 1_000_000,
    "added_per_hour": 1_000_000,
    "subject_bytes_per_hour": 1_000_000_000_000,
    "drain_window_s": 0,  # a test's end need not spread anybody's reconnection
}


class Endpoint(Protocol):
    """Somewhere to dial: a gateway, or a proxy before one."""

    port: int


class GatewayProcess:
    """`python -m gateway serve` as a process of its own.

    Every start uses the same port and the same settings, so that clients find it again. Its output
    is kept in files of `folder` and read back by `logs`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        redis_url: str | None,
        host: str = HOST,
        inside: Sequence[str] = (),
        **settings: object,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            folder: for its data and its output; made if it is not there.
            redis_url: None for the embedded server on `folder`.
            host: where to listen.
            inside: the command that runs it in the network namespace that has this address.
            settings: fields of `Settings`, given as `GATEWAY_…` variables, over `GENEROUS`.
        """
        self.host = host
        self.port = free_port(HOST if inside else host)
        self._command = [*inside, sys.executable, "-m", "gateway", "serve"]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = {
            name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ
        }
        chosen = GENEROUS | {
            "jwt_secret": SECRET,
            "redis_url": redis_url,
            "data_dir": folder / "data",
            "host": host,
            "port": self.port,
            "log_format": "json",
        }
        self.configure(**(chosen | settings))

    def configure(self, **settings: object) -> None:
        """Change settings of the next start; those that are None are left as they are."""
        for name, value in settings.items():
            if value is not None:
                self._environment[f"GATEWAY_{name.upper()}"] = str(value)

    def launch(self) -> None:
        """Start the process without waiting."""
        self._starts += 1
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                dying_with_us(self._command, signal_number=signal.SIGKILL),
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    async def start(self) -> None:
        """Start, and wait until connections are accepted."""
        self.launch()
        await eventually(self._is_listening, what=f"a gateway on {self.port}", within_s=START_S)

    def start_blocking(self) -> None:
        """Do as `start`, for session fixtures."""
        self.launch()
        eventually_blocking(self._is_listening, what=f"a gateway on {self.port}", within_s=START_S)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.exited()

    async def terminate(self, *, within_s: float = STOP_S) -> int:
        """SIGTERM; return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.exited(within_s=within_s)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended already."""
        if self.is_running:
            self.process.send_signal(number)

    async def exited(self, *, within_s: float = STOP_S) -> int:
        """Wait until it has ended; return the exit code."""
        await eventually(
            lambda: not self.is_running, what=f"gateway {self.pid} ends", within_s=within_s
        )
        code = self.process.returncode
        assert code is not None
        return code

    def stop_blocking(self) -> None:
        """End it, politely if it listens, for fixtures."""
        if self._process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
            raise AssertionError(f"gateway {self.pid} hung on SIGTERM:\n{self.logs}") from None

    async def dispose(self) -> None:
        """End it without ceremony, whatever state it is in."""
        if self._process is not None:
            self.process.kill()
            await self.exited()

    def kill_embedded_server(self) -> None:
        """SIGKILL the Redis that it runs for itself."""
        servers = [
            child
            for child in psutil.Process(self.pid).children(recursive=True)
            if "server" in child.name()
        ]
        assert servers, "it runs no server"
        for child in servers:
            child.kill()

    async def restart(self) -> None:
        """Kill it and start it again on the same port."""
        await self.kill()
        await self.start()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the last start."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def logs(self) -> str:
        """All that it printed, over all starts: stdout, then stderr."""
        return "".join(
            path.read_text(errors="replace") for path in (self._out, self._err) if path.exists()
        )

    @property
    def rss_bytes(self) -> int:
        """Its resident memory."""
        rss: int = psutil.Process(self.pid).memory_info().rss
        return rss

    def peer_ports(self) -> set[int]:
        """Ports of the other ends of its open TCP connections."""
        return {
            connection.raddr.port
            for connection in psutil.Process(self.pid).net_connections("tcp")
            if connection.raddr and connection.status == psutil.CONN_ESTABLISHED
        }

    @property
    def _out(self) -> Path:
        return self._folder / "stdout.log"

    @property
    def _err(self) -> Path:
        return self._folder / "stderr.log"

    def _is_listening(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"the gateway ended at its start:\n{self.logs}")
        said = self._out.read_text().count("listening on")
        return said >= self._starts


class InProcessGateway:
    """The same application served from this event loop, with a clock that tests move.

    Cheap to start, so that a test has one with just the settings it needs. An asynchronous
    context manager.
    """

    def __init__(self, **settings: Any) -> None:
        """Prepare, with these settings over `GENEROUS`."""
        self.clock = Clock()
        self.port = 0
        own = {"jwt_secret": SECRET, "host": "127.0.0.1", "port": 0, "drain_timeout_s": 2}
        self._settings = load_settings({}, **(GENEROUS | own | settings))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Serve."""
        app = create_app(self._settings, clock=self.clock)
        server = GatewayServer(uvicorn_config(app, self._settings), drain=app.drain)
        await self._stack.enter_async_context(server.running())
        self.port = server.bound_port
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drain and stop."""
        await self._stack.aclose()
