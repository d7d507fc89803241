"""`gateway serve --workers N`: a process that keeps N replicas running.

It serves no clients itself. It reserves the port, runs the embedded server if one is needed, starts
the replicas, replaces those that die, and stops them all together:

    reserve the port -> embedded server -> first replica -> the others -> "listening on …"
    a replica dies   -> a new one, later each time if they do not last
    first signal     -> all drain at the same time; second: at once; then the embedded server stops

The first replica starts alone, so that an error in the settings is reported once.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog

from gateway.cli.serve.orders import Orders
from gateway.cli.serve.replica_process import ReplicaProcess
from gateway.store.embedded.server import EmbeddedServer
from gateway.transport.server.patience import task
from gateway.transport.server.process import EXIT_STUCK, calling_on_signals, exit_at_the_latest
from gateway.transport.server.server import EXIT_MARGIN_S, stop_limit_s
from gateway.transport.server.sockets import listening_sockets, share_port
from gateway.transport.server.supervised import STOP, STOP_AT_ONCE

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.settings import Settings

T = TypeVar("T")

# Elsewhere SO_REUSEPORT gives all connections to one process (macOS): there they share a socket.
BALANCES_PORT = sys.platform == "linux"

PAUSE_MIN_S = 0.1  # before a lost replica is replaced; twice as long each time, up to …
PAUSE_MAX_S = 10.0
STEADY_S = 30.0  # … unless it has lived for so long
MAX_FAILED_STARTS = 5  # in a row, with nobody left who serves: then the gateway ends
EMBEDDED_STOP_S = 15.0  # more than the embedded server's own limits together
CANCEL_S = 1.0

_log = structlog.get_logger(__name__)


class Supervisor:
    """Keeps `settings.workers` replicas on one port, until a signal."""

    def __init__(
        self,
        settings: Settings,
        *,
        has_worker: bool,
        on_listening: Callable[[str, int], None],
    ) -> None:
        """Prepare; nothing is bound or started yet.

        Args:
            settings: as `load_settings` has checked them.
            has_worker: whether the replicas execute runs.
            on_listening: called once with host and port, when all replicas accept connections.
        """
        self._settings = settings
        self._has_worker = has_worker
        self._on_listening = on_listening
        self._stopping = asyncio.Event()
        self._sockets: list[socket.socket] = []
        self._replicas: set[ReplicaProcess] = set()
        self._failed_starts = 0
        self._status = 0

    async def run(self) -> int:
        """Serve until a signal; return the exit status.

        It is that of a replica that could not start, or did not stop well; else 0.

        Raises:
            SettingError, NoServerBinary, DataFolderInUse: nothing could be started.
        """
        self._sockets = listening_sockets(self._settings)
        try:
            with calling_on_signals(self.request_stop):
                async with self._redis_url() as url:
                    await self._serve(url)
        finally:
            self._release_port()
        return self._status

    def request_stop(self) -> None:
        """Have all replicas drain and end; called again: end at once."""
        is_first = not self._stopping.is_set()
        self._stopping.set()
        self._release_port()
        for replica in self._replicas:
            replica.tell(STOP if is_first else STOP_AT_ONCE)
        if is_first:
            exit_at_the_latest(self._stop_limit_s + EMBEDDED_STOP_S + EXIT_MARGIN_S)

    # --- what the replicas share ---

    @asynccontextmanager
    async def _redis_url(self) -> AsyncIterator[str | None]:
        """Give the URL of Redis, of an embedded server of ours if need be.

        Owned here, that server outlives any replica. None if told to stop before it answered.
        """
        if self._settings.redis_url is not None:
            yield self._settings.redis_url
            return
        embedded = EmbeddedServer.of(self._settings)
        try:
            url = await self._unless_stopping(embedded.ensure)
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(embedded.watch(), name="embedded-server")
                try:
                    yield url
                finally:
                    watch.cancel()
        finally:
            await embedded.stop()

    def _orders(self, redis_url: str) -> Orders:
        listeners: tuple[int, ...] = ()
        if BALANCES_PORT:
            share_port(self._sockets)
        else:
            listeners = tuple(each.fileno() for each in self._sockets)
        settings = msgspec.structs.replace(self._settings, redis_url=redis_url, port=self._port)
        return Orders(settings=settings, has_worker=self._has_worker, listeners=listeners)

    @property
    def _port(self) -> int:
        port: int = self._sockets[0].getsockname()[1]
        return port

    def _release_port(self) -> None:
        for each in self._sockets:
            each.close()

    # --- serving ---

    async def _serve(self, redis_url: str | None) -> None:
        if redis_url is None or self._stopping.is_set():
            return
        orders = self._orders(redis_url)
        port = orders.settings.port
        try:
            if await self._started(orders, count=1) and await self._started(
                orders, count=self._settings.workers - 1
            ):
                self._on_listening(self._settings.host, port)
                async with asyncio.TaskGroup() as tasks:
                    for replica in list(self._replicas):
                        tasks.create_task(self._keep(replica, orders), name="replica")
        finally:
            await self._end_replicas()

    async def _started(self, orders: Orders, *, count: int) -> bool:
        """Start so many replicas at once; return whether all of them accept connections.

        If one does not, the gateway ends as that one did.
        """
        replicas = [await self._start(orders) for _ in range(count) if not self._stopping.is_set()]
        for replica in replicas:
            if not await replica.listening():
                await self._give_up(replica)
                return False
        return not self._stopping.is_set()

    async def _start(self, orders: Orders) -> ReplicaProcess:
        replica = await ReplicaProcess.start(orders)
        self._replicas.add(replica)
        if self._stopping.is_set():  # told so while it was being started
            replica.tell(STOP)
        _log.info("replica_started", pid=replica.pid)
        return replica

    async def _give_up(self, replica: ReplicaProcess) -> None:
        """End the gateway with the status of a replica that could not start."""
        status = await replica.ended()
        if not self._stopping.is_set():
            _log.error("replica_not_started", pid=replica.pid, status=status)
            self._status = _exit_status(status) or EXIT_STUCK
            self.request_stop()

    async def _keep(self, replica: ReplicaProcess, orders: Orders) -> None:
        """Replace a replica whenever it ends, until told to stop."""
        pause_s = PAUSE_MIN_S
        while (status := await self._unless_stopping(replica.ended)) is not None:
            self._replicas.discard(replica)
            if not replica.has_listened and self._is_hopeless():
                await self._give_up(replica)
                return
            if replica.age_s > STEADY_S:
                pause_s = PAUSE_MIN_S
            _log.error("replica_lost", pid=replica.pid, status=status, again_in_s=pause_s)
            if await self._is_stopping_within(pause_s):
                return
            pause_s = min(2 * pause_s, PAUSE_MAX_S)
            replica = await self._start(orders)
            if await replica.listening():
                self._failed_starts = 0

    def _is_hopeless(self) -> bool:
        """Count a failed start; return whether there were too many, and nobody serves."""
        self._failed_starts += 1
        serves = any(each.has_listened for each in self._replicas)
        return self._failed_starts >= MAX_FAILED_STARTS and not serves

    async def _is_stopping_within(self, limit_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _unless_stopping(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return what `work` does; None if told to stop before: then it is cancelled."""
        working = task(work, "supervised")
        stopping = task(self._stopping.wait, "stopping")
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not self._stopping.is_set():
                return working.result()
        finally:
            stopping.cancel()
            working.cancel()
        await asyncio.wait({working}, timeout=CANCEL_S)
        return None

    # --- stopping ---

    @property
    def _stop_limit_s(self) -> float:
        """Seconds in which a replica ends by itself, if it must by force, and some."""
        return stop_limit_s(self._settings) + 2 * EXIT_MARGIN_S

    async def _end_replicas(self) -> None:
        """Wait for all to end, and kill those that do not in time."""
        if not self._stopping.is_set():  # a fault of ours
            self.request_stop()
        ends = {task(each.ended, "replica-end"): each for each in self._replicas}
        if not ends:
            return
        await asyncio.wait(ends, timeout=self._stop_limit_s)
        for ending, replica in ends.items():
            if not ending.done():
                _log.warning("replica_killed", pid=replica.pid)
                replica.kill()
        for ending in ends:
            self._status = self._status or _exit_status(await ending)


def _exit_status(status: int) -> int:
    """Return the exit status that stands for a process that ended so."""
    return status if status >= 0 else EXIT_STUCK
