"""A transport that never waits for its peer without a time limit.

`transport.close()` of asyncio and uvloop first writes out what is queued: with a peer that does
not read, it never ends, and nobody is told. uvicorn 0.54 calls it in twenty places, its own closes
and its shutdown among them (Kludex/uvicorn#3053 bounded only the wait for the peer's close frame);
wrapped once here, all of them are bounded. It can go when uvicorn aborts such a transport itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from gateway.transport.stall import StallWatch
from gateway.transport.uvicorn.timer import Timer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.transport.limits import Limits


class GuardedTransport(asyncio.Transport):
    """Delegates to `inner`; a close or a stalled write that takes too long aborts it.

    Its protocol tells it `writing_paused`, `writing_resumed` and `connection_lost`.
    """

    def __init__(
        self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop, limits: Limits
    ) -> None:
        super().__init__()
        self._inner = inner
        self._limits = limits
        self._close_timer = Timer(loop, inner.abort)
        self._write_timer = Timer(loop, inner.abort)  # once the peer has stalled
        self._write_watch = StallWatch(loop, inner, limits.write_timeout_s, self._stalled)
        self._is_finishing = False
        self._is_lost = False
        # The common ones without a detour.
        self.write = inner.write  # type: ignore[method-assign]  # same signature, one call less
        self.get_write_buffer_size = inner.get_write_buffer_size  # type: ignore[method-assign]

    def close(self) -> None:
        """Close when all is written; abort after `close_timeout_s`. Leaves a `finish` alone."""
        if self._is_finishing or self._is_lost:
            return
        self._inner.close()
        self._close_timer.arm(self._limits.close_timeout_s)

    def finish(self) -> None:
        """End our side and read on until the peer ends its own, `close_timeout_s` at the most.

        The protocol drops what still comes. Closing at once with unread data would make the kernel
        send RST, which may destroy our last words before the peer has read them; RFC 6455 section
        7.1.1 and RFC 9112 section 9.6 describe this way of ending.
        """
        if self._is_finishing or self._is_lost or self._inner.is_closing():
            return
        if not self._inner.can_write_eof():  # TLS
            self.close()
            return
        self._is_finishing = True
        try:
            self._inner.write_eof()
        except OSError:  # reset by the peer, and the loop has not told us yet
            self.abort()
            return
        self._inner.resume_reading()
        self._close_timer.arm(self._limits.close_timeout_s)

    def abort(self) -> None:
        """Drop the connection now, with all that is queued; harmless when it has ended."""
        if not self._is_lost:  # asyncio 3.11 raises AttributeError then
            self._inner.abort()

    def peer_ended(self) -> None:
        """Close: the peer sends nothing more, and asyncio would wait for ever to write the rest."""
        self._is_finishing = False
        self.close()

    def writing_paused(self) -> None:
        """Start the time within which the peer must take something."""
        self._write_watch.start()

    def _stalled(self) -> None:
        """Abort, after the time in which it may still read why it is closed."""
        self._write_timer.arm(self._limits.close_timeout_s)

    def writing_resumed(self) -> None:
        """Stop it: the peer has read."""
        self._write_watch.stop()
        self._write_timer.disarm()

    def connection_lost(self) -> None:
        """Disarm everything, for good."""
        self._is_lost = True
        self._close_timer.disarm()
        self._write_timer.disarm()
        self._write_watch.stop()

    def release(self) -> asyncio.Transport:
        """Return the inner transport, to somebody who guards it otherwise."""
        self.connection_lost()
        return self._inner

    def is_closing(self) -> bool:
        """Whether nothing may be written any more."""
        return self._is_finishing or self._inner.is_closing()

    def pause_reading(self) -> None:
        """Stop reading, unless we read only for the peer's end."""
        if not self._is_finishing:
            self._inner.pause_reading()

    # --- plain delegation ---

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Queue data. Replaced by the inner one when made."""
        self._inner.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Queue several pieces of data."""
        self._inner.writelines(list_of_data)

    def resume_reading(self) -> None:
        """Read on."""
        self._inner.resume_reading()

    def is_reading(self) -> bool:
        """Whether data is read now."""
        return self._inner.is_reading()

    def can_write_eof(self) -> bool:
        """Whether our side alone can be ended."""
        return self._inner.can_write_eof()

    def write_eof(self) -> None:
        """End our side."""
        self._inner.write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who has the connection."""
        return self._inner.get_protocol()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell about the socket below."""
        return self._inner.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are queued, those in the kernel not counted."""
        return self._inner.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the marks, in bytes, below and above which writing is resumed and paused."""
        return self._inner.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set these marks."""
        self._inner.set_write_buffer_limits(high, low)


def guarded(
    transport: asyncio.BaseTransport, loop: asyncio.AbstractEventLoop, limits: Limits
) -> GuardedTransport:
    """Wrap a transport, unless it is wrapped already (an upgrade hands it on)."""
    if isinstance(transport, GuardedTransport):
        return transport
    # uvloop's TCPTransport has the methods of asyncio.Transport without being one.
    return GuardedTransport(cast("asyncio.Transport", transport), loop, limits)
