"""A server in a process of its own, that another process has started and tells when to stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from gateway.transport.server.process import calling_on_signals, letting_signals_in
from gateway.transport.server.server import GatewayServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from gateway.transport.config import TransportConfig

# What is said over the channel, a byte each.
LISTENING = b"l"  # the server accepts connections
STOP = b"s"  # drain, then end; said again it changes nothing
STOP_AT_ONCE = b"!"  # end without draining

READ_BYTES = 64


class SupervisedServer(GatewayServer):
    """Serves until its supervisor says so, or is gone.

    A signal begins a stop, and a second one does not hasten it: Ctrl-C, and a service manager that
    ends a control group, reach this process and the supervisor, who says it again over the channel.
    """

    def __init__(
        self,
        config: TransportConfig,
        *,
        channel: socket.socket,
        drain: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare; nothing is bound yet.

        Args:
            config: of `uvicorn_config`.
            channel: one end of a pair of sockets; the supervisor has the other.
            drain: as of `GatewayServer`.
        """
        super().__init__(config, drain=drain, on_listening=self._tell_listening)
        self._channel = channel
        channel.settimeout(0)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, by whatever way."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel, self._hear)
        try:
            await super().serve(sockets)
        finally:
            loop.remove_reader(self._channel)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Begin to stop on SIGTERM and SIGINT. They were held back since the process began."""
        with calling_on_signals(self._begin_stop), letting_signals_in():
            yield

    def _tell_listening(self, _host: str, _port: int) -> None:
        with contextlib.suppress(OSError):  # it is gone: the reader finds that out
            self._channel.send(LISTENING)

    def _hear(self) -> None:
        try:
            said = self._channel.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._begin_stop()
        if not said:
            asyncio.get_running_loop().remove_reader(self._channel)
        if STOP_AT_ONCE in said:
            self.request_stop()

    def _begin_stop(self) -> None:
        if not self.is_draining:
            self.request_stop()
