"""A connection that always ends: each way to its end has a time limit.

`transport.close()` of asyncio and uvloop first writes out what is queued: with a peer that does
not read it never ends, and nobody is told. guard.py cures that for uvicorn's classes; here it is
built in, without an object of its own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gateway.protocol.frames import close_frame, close_payload, pong_frame
from gateway.transport.control import ABNORMAL
from gateway.transport.stall import StallWatch
from gateway.transport.websocket.frame_parser import FrameParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.server import ServerState

    from gateway.transport.addresses import Address
    from gateway.transport.config import TransportConfig
    from gateway.transport.control import Receiver


LEAVING_FRAMES = 2_000  # that were on their way when we closed
# Pings of a chunk that get a pong each; of those above it only the newest does (RFC 6455 section
# 5.5.3). Autobahn's suite sends ten together, and wants ten.
PONGS_AT_ONCE = 16


class Nobody:
    """Receives for a connection that has no receiver yet, or no more."""

    __slots__ = ()

    def message(self, data: str | bytes) -> None:
        """Drop it."""

    def other_frames(self, count: int) -> None:
        """Do nothing."""

    def writing_resumed(self) -> None:
        """Do nothing."""

    def writing_stalled(self) -> None:
        """Do nothing: the connection is cut."""

    def ended(self) -> None:
        """Do nothing."""


class Leaving(Nobody):
    """Receives after our close frame: the rest is dropped, and the end passed on.

    What comes is parsed for the peer's close frame only: after LEAVING_FRAMES it is a flood, and
    `on_flood` is called.
    """

    __slots__ = ("_frames_left", "_on_flood", "_receiver")

    def __init__(self, receiver: Receiver, on_flood: Callable[[], None]) -> None:
        self._receiver = receiver
        self._on_flood = on_flood
        self._frames_left = LEAVING_FRAMES

    def message(self, data: str | bytes) -> None:
        """Drop it, and count."""
        del data
        self.other_frames(1)

    def other_frames(self, count: int) -> None:
        """Count."""
        self._frames_left -= count
        if self._frames_left < 0:
            self._on_flood()

    def ended(self) -> None:
        """Tell the one who closed."""
        self._receiver.ended()


NOBODY = Nobody()


class EndingConnection(FrameParser, asyncio.Protocol):
    """The TCP connection of one WebSocket, its time limits, and its end.

    States: asked for, accepted and open, closing (by us), over, lost. Over, nothing is parsed or
    written any more; the connection is lost within `close_timeout_s`.
    """

    __slots__ = (
        "_config",
        "_is_lost",
        "_late_pong",
        "_loop",
        "_pongs_left",
        "_server_state",
        "_timer",
        "_write_timer",
        "_write_watch",
        "address",
        "ended_with",
        "is_accepted",
        "is_open",
        "is_writable",
        "transport",
    )

    def __init__(
        self,
        config: TransportConfig,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
    ) -> None:
        super().__init__(NOBODY, config.limits.max_frame_bytes)
        self._config = config
        self._server_state = server_state
        self._loop = loop
        self._is_lost = False
        self._late_pong: bytes | None = None  # the newest ping's payload
        self._pongs_left = PONGS_AT_ONCE
        self._timer: asyncio.TimerHandle | None = None  # of the handshake, then of the end
        self._write_timer: asyncio.TimerHandle | None = None  # once the peer has stalled
        self._write_watch: StallWatch | None = None
        self.address: Address | None = None  # whose socket this is counted as, until it is lost
        self.transport = transport
        self.ended_with = ABNORMAL, ""  # code and reason
        self.is_accepted = self.is_open = False
        self.is_writable: bool = True
        self._connections.add(self)
        transport.set_protocol(self)

    @property
    def _connections(self) -> set[Any]:
        return self._server_state.connections

    @property
    def is_over(self) -> bool:
        """Whether nothing is received or written any more."""
        return self._is_over

    # --- the peer does not read ---

    def pause_writing(self) -> None:
        """Give the peer `write_timeout_s` to take something."""
        self.is_writable = False
        if self._write_watch is None:
            limit_s = self._config.limits.write_timeout_s
            self._write_watch = StallWatch(self._loop, self.transport, limit_s, self._stalled)
        self._write_watch.start()

    def _stalled(self) -> None:
        """Have the receiver close, and cut the connection if the peer takes not even that."""
        self._write_timer = self._loop.call_later(self._config.limits.close_timeout_s, self.abort)
        self._receiver.writing_stalled()

    def _writing_goes_on(self) -> None:
        if self._write_watch is not None:
            self._write_watch.stop()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def resume_writing(self) -> None:
        """Answer the newest ping, and let the receiver write on."""
        self.is_writable = True
        self._writing_goes_on()
        self._answer_late()
        self._receiver.writing_resumed()

    # --- pings, and what else is no message ---

    def _pinged(self, payload: bytes) -> None:
        """Write the pong, or keep it until the chunk is parsed and the peer reads.

        RFC 6455 section 5.5.3: of several pings, only the newest needs its pong.
        """
        if self._pongs_left and self.is_writable and self.is_open:
            self._pongs_left -= 1
            self._late_pong = None
            self.transport.write(pong_frame(payload))
        else:
            self._late_pong = payload

    def _answer_late(self) -> None:
        """Answer the newest ping that had to wait, if it may be answered now."""
        late = self._late_pong
        if late is not None and self.is_writable:
            self._late_pong = None
            if self.is_open:
                self.transport.write(pong_frame(late))

    def _parsed_others(self, count: int) -> None:
        """Tell the receiver; let others have their turn if there were many, then go on."""
        self._answer_late()
        if self._must_rest:
            self.transport.pause_reading()
            self._loop.call_soon(self._go_on)
        else:
            self._pongs_left = PONGS_AT_ONCE
        self._receiver.other_frames(count)

    def _go_on(self) -> None:
        """Parse what waits, and read on, unless the receiver has paused or the end has come."""
        self._must_rest = False
        if self._is_reading:
            self.resume_reading()

    def resume_reading(self) -> None:
        """Give what waits, then what comes."""
        raise NotImplementedError

    # --- the end ---

    def abort(self) -> None:
        """Drop the connection now, with all that is queued."""
        if not self._is_lost:
            self.transport.abort()

    def eof_received(self) -> None:
        """Close, within the time limit: the event loop's own close has none."""
        self._end(ABNORMAL, "")
        self._close_transport()

    def connection_lost(self, _: Exception | None) -> None:
        """Let go of everything, and tell the receiver."""
        self._is_lost = True
        self._disarm()
        self._writing_goes_on()
        self._connections.discard(self)
        if self.address is not None:
            self.address.leave()
        self._end(ABNORMAL, "")

    def _fail(self, code: int, reason: str) -> None:
        """End because of what the peer did, or of our own fault."""
        if self.is_open:
            self.transport.write(close_frame(close_payload(code, reason)))
        self._end(code, reason)
        self._finish()

    def _end(self, code: int, reason: str) -> None:
        """Parse and write nothing more, and tell the receiver; harmless when it is over."""
        if self._is_over:
            return
        if not self.is_accepted:
            self._disarm()  # the handshake's limit; that of the end begins
        if self.is_open or not self.is_accepted:  # else we have closed, with our own code
            self.ended_with = code, reason
        self._is_over = True
        self.is_open = self._is_reading = False
        self._unparsed = self._collected = self._late_pong = None
        receiver, self._receiver = self._receiver, NOBODY
        receiver.ended()

    def _drop_rest(self) -> None:
        """Parse nothing more of one who floods us after our close."""
        self._end(ABNORMAL, "")
        self._finish()

    def _finish(self) -> None:
        """End our side and read on until the peer ends its own, `close_timeout_s` at the most.

        What still comes is dropped. Closing at once with unread data would make the kernel send
        RST, which may destroy our last words before the peer has read them; RFC 6455 section 7.1.1
        and RFC 9112 section 9.6 describe this way of ending.
        """
        if self._is_lost or self.transport.is_closing():
            return
        if not self.transport.can_write_eof():  # TLS
            self._close_transport()
            return
        try:
            self.transport.write_eof()
        except OSError:  # reset by the peer, and the loop has not told us yet
            self.abort()
            return
        self.transport.resume_reading()
        self._end_within(self._config.limits.close_timeout_s, self.abort)

    def _close_transport(self) -> None:
        """Close when all is written; abort after `close_timeout_s`."""
        if not self._is_lost:
            self.transport.close()
            self._end_within(self._config.limits.close_timeout_s, self.abort)

    def _end_within(self, limit_s: float, expired: Callable[[], None]) -> None:
        """Start counting, unless an end has begun to be counted before."""
        if self._timer is None:
            self._timer = self._loop.call_later(limit_s, expired)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
