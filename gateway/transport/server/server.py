"""The server: starts with clear errors, drains on the first signal, and always ends.

uvicorn 0.54 closes every WebSocket at the moment of SIGTERM, before the application hears of it,
waits without limit for the lifespan's end and for transports that never drain, and ends the
process by the signal instead of with 0. So its start is used and its stop is replaced:

    stop accepting -> drain (ours) -> ask each connection to end -> abort those that do not
                   -> end their tasks -> end the application

Each arrow has a time limit; a second signal skips to the aborting.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import structlog
import uvicorn

from gateway.transport.server.patience import Patience, task
from gateway.transport.server.process import calling_on_signals, collect_less, exit_at_the_latest
from gateway.transport.server.sockets import allow_open_files, listening_sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from typing import Self

    from gateway.settings import Settings
    from gateway.transport.config import TransportConfig
    from gateway.transport.server.lifespan import GatewayLifespan

_log = structlog.get_logger(__name__)

TICK_S = 1.0  # how often the Date header is renewed and refusals are logged
GOODBYE_S = 2.0  # for peers to read their close frame and go
CANCEL_S = 1.0  # for tasks to end after their connection did, and again after a cancel
EXIT_MARGIN_S = 5.0


def stop_limit_s(settings: Settings) -> float:
    """Seconds from the first signal to the end of `shutdown`."""
    draining_s = settings.drain_window_s + settings.drain_timeout_s
    return draining_s + GOODBYE_S + settings.drain_timeout_s + 3 * CANCEL_S


class GatewayServer(uvicorn.Server):
    """Serves one application on its sockets until it is told to stop.

    A process calls `run`, or `serve` in a loop of its own; a test enters `running`.
    """

    def __init__(
        self,
        config: TransportConfig,
        *,
        drain: Callable[[], Awaitable[None]] | None = None,
        on_listening: Callable[[str, int], None] | None = None,
    ) -> None:
        """Prepare; nothing is bound yet.

        Args:
            config: of `uvicorn_config`.
            drain: called once, when the sockets are closed and all connections still live: tells
                the clients to go elsewhere. It has `drain_window_s + drain_timeout_s`, then it is
                cancelled.
            on_listening: called with host and port as soon as connections are accepted.
        """
        super().__init__(config)
        self._transport_config = config
        self._settings = config.settings
        self._drain = drain
        self._on_listening = on_listening
        self._stopping = asyncio.Event()
        self._listening = asyncio.Event()
        self._patience = Patience()
        self._bound_port: int | None = None
        self._seen_refused = config.refused.copy()
        self._is_process = False

    @property
    def is_draining(self) -> bool:
        """Whether it has been told to stop; readiness fails then."""
        return self._stopping.is_set()

    @property
    def bound_port(self) -> int:
        """The port it listens on.

        Raises:
            RuntimeError: it has not been started.
        """
        if self._bound_port is None:
            raise RuntimeError("the server has no port before it is started")
        return self._bound_port

    def request_stop(self) -> None:
        """Begin to stop, as on the first signal; called again: at once, as on the second."""
        if not self._stopping.is_set():
            self._stopping.set()
            self.should_exit = True
            if self._is_process:
                exit_at_the_latest(stop_limit_s(self._settings) + EXIT_MARGIN_S)
            return
        self._patience.lose()
        self.force_exit = True

    # --- running ---

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in a new event loop until a signal; return after a graceful stop.

        If the loop or a thread hangs in the end, the process is ended with 1.
        """
        self._is_process = True
        collect_less()
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve(sockets))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal, or `request_stop`.

        Args:
            sockets: bound; closed at the end. None: those of `listening_sockets(settings)`.

        Raises:
            GatewayError: and whatever else the application's start raised.
        """
        with self.capture_signals():
            await self._serve(sockets)

    @contextlib.asynccontextmanager
    async def running(self, sockets: list[socket.socket] | None = None) -> AsyncIterator[Self]:
        """Serve while the block runs, without touching signals; drain and stop at its end."""
        serving = task(lambda: self._serve(sockets), "gateway-server")
        listening = task(self._listening.wait, "gateway-listening")
        await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        try:
            if serving.done():
                await serving  # raises what the start raised
                raise RuntimeError("the server stopped before it listened")
            yield self
        finally:
            if not self.is_draining:
                self.request_stop()
            await serving

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.config.loaded:
            self.config.load()
        self._fit_open_files()
        sockets = listening_sockets(self._settings) if sockets is None else sockets
        self._bound_port = sockets[0].getsockname()[1]
        self.lifespan = self.config.lifespan_class(self.config)
        try:
            await self._start(sockets)
            if self.started:
                self._announce()
                await self.main_loop()
        finally:
            await self.shutdown(sockets)
        failure = cast("GatewayLifespan", self.lifespan).failure
        if failure is not None:  # it ended while it served, or could not end well
            raise failure

    def _fit_open_files(self) -> None:
        """Take no more connections than there can be: where `accept` fails, nobody is told why."""
        config, limits = self._transport_config, self._transport_config.limits
        wanted = limits.max_connections + limits.max_spare_connections
        possible = allow_open_files(wanted)
        if possible < wanted:
            spare = min(limits.max_spare_connections, possible // 8)
            count = max(1, possible - spare)
            config.limits = replace(limits, max_connections=count, max_spare_connections=spare)
            _log.warning("open_files_limited", wanted=limits.max_connections, connections=count)

    async def _start(self, sockets: list[socket.socket]) -> None:
        """Start the application, then listen; give up when told to stop meanwhile."""
        starting = task(lambda: self._start_application(sockets), "gateway-start")
        stopping = task(self._stopping.wait, "gateway-stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=CANCEL_S)
            return
        await starting

    async def _start_application(self, sockets: list[socket.socket]) -> None:
        try:
            await self.startup(sockets=sockets)
        except SystemExit as exc:  # how uvicorn says that the lifespan failed
            failure = cast("GatewayLifespan", self.lifespan).failure
            raise failure or RuntimeError("the application did not start") from exc

    def _announce(self) -> None:
        self._listening.set()
        application = cast("GatewayLifespan", self.lifespan).task
        if application is not None:
            application.add_done_callback(self._application_ended)
        if self._on_listening is not None:
            self._on_listening(self._settings.host, self.bound_port)

    def _application_ended(self, _: asyncio.Task[None]) -> None:
        """Stop: what the application does in the background has ended with its lifespan."""
        if not self._stopping.is_set():
            _log.error("application_ended")
            self.request_stop()

    async def main_loop(self) -> None:
        """Keep the Date header until told to stop."""
        while not await self.on_tick(0):
            await self._patience.within(self._stopping.wait, TICK_S)
            self._transport_config.addresses.forget_idle()
            self._log_refusals()

    def _log_refusals(self) -> None:
        """Log what was refused since the last tick: one line, however many there were."""
        refused = self._transport_config.refused
        if refused != self._seen_refused:
            news = refused - self._seen_refused
            self._seen_refused = refused.copy()
            fields: dict[str, object] = {f"status_{code}": n for code, n in news.items()}
            if limited := self._transport_config.addresses.limited():
                (address, _), *_ = limited.most_common(1)
                fields |= {"addresses": len(limited), "most_of": address}
            _log.warning("requests_refused", **fields)

    # --- stopping ---

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop in the order of this module's docstring; takes no longer than `stop_limit_s`."""
        self._stopping.set()
        self._stop_listening(sockets or [])
        if self.started:
            await self._drain_clients()
            self._ask_connections_to_end()
            await self._patience.until(lambda: not self.server_state.connections, GOODBYE_S)
        self._abort_connections()
        await self._end_tasks()
        await self._end_application()
        _log.info("server_stopped", forced=self._patience.is_lost)

    def _stop_listening(self, sockets: list[socket.socket]) -> None:
        for server in getattr(self, "servers", ()):  # not there when the start failed
            server.close()
        for listener in sockets:
            listener.close()

    async def _drain_clients(self) -> None:
        if self._drain is None:
            return
        limit_s = self._settings.drain_window_s + self._settings.drain_timeout_s
        _log.info("draining", connections=len(self.server_state.connections), limit_s=limit_s)
        if not await self._patience.within(self._drain, limit_s, name="gateway-drain"):
            _log.warning("drain_cut_short", limit_s=limit_s, forced=self._patience.is_lost)

    def _ask_connections_to_end(self) -> None:
        for connection in list(self.server_state.connections):
            connection.shutdown()

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    async def _end_tasks(self) -> None:
        """Let the requests' tasks notice that their peer is gone, then cancel them."""
        tasks = self.server_state.tasks
        await self._patience.until(lambda: not tasks, CANCEL_S)
        for each in list(tasks):
            each.cancel("the server stops")
        if tasks and not self._patience.is_lost:
            await self._patience.until(lambda: not tasks, CANCEL_S)
        if tasks:
            _log.warning("tasks_did_not_end", tasks=sorted(each.get_name() for each in tasks))

    async def _end_application(self) -> None:
        """End its lifespan; when it takes too long, or was told twice, cancel it."""
        lifespan = cast("GatewayLifespan", self.lifespan)
        if lifespan.task is None or lifespan.task.done():
            return
        if lifespan.startup_event.is_set() and await self._patience.within(
            lifespan.shutdown, self._settings.drain_timeout_s, name="gateway-lifespan-end"
        ):
            return
        _log.warning("application_end_cut_short", forced=self._patience.is_lost)
        lifespan.task.cancel()
        await asyncio.wait({lifespan.task}, timeout=CANCEL_S)

    # --- the process ---

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT; raise nothing again at the end, as uvicorn would."""
        with calling_on_signals(self.request_stop):
            yield
