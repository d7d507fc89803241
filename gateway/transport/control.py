"""What an application may do to the connection below its WebSocket: see it and cut it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

EXTENSION = "gateway.transport"


class TransportControl:
    """`scope["extensions"]["gateway.transport"]` of a WebSocket.

    Safe to use at any time, also after the connection has ended.
    """

    __slots__ = ("_heard_at_s", "_transport")

    def __init__(self, transport: asyncio.Transport, heard_at_s: Callable[[], float]) -> None:
        self._transport = transport
        self._heard_at_s = heard_at_s

    def abort(self) -> None:
        """Drop the TCP connection now, with all that is queued; `receive` then tells 1006."""
        self._transport.abort()

    def write_buffer_bytes(self) -> int:
        """Return how many bytes wait here; the kernel holds up to `send_buffer_bytes` besides."""
        return self._transport.get_write_buffer_size()

    def heard_at_s(self) -> float:
        """Return when the peer's last bytes came, pings and parts of frames included.

        In seconds of `loop.time()`, which is monotonic.
        """
        return self._heard_at_s()


def control_of(scope: Mapping[str, object]) -> TransportControl:
    """Return the control of an ASGI WebSocket scope.

    Raises:
        KeyError: another server made this scope.
    """
    extensions = cast("Mapping[str, object]", scope["extensions"])
    return cast("TransportControl", extensions[EXTENSION])
