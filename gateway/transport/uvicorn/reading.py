"""The reading half of a WebSocket: only as far as the application keeps up.

uvicorn 0.54 parses a whole chunk of the socket at once, however many messages are in it, and keeps
the fragments of a message in a list, which a flood of empty ones grows for ever. It counts no
frames that are no whole message (pings, pongs, fragments), though they may have no bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.codes import CloseCode
from gateway.protocol.rate_limit import TokenBucket
from gateway.transport import refusal as answers
from gateway.transport.limits import MAX_QUEUED_MESSAGES
from gateway.transport.websocket.ending import LEAVING_FRAMES
from gateway.transport.websocket.frame_parser import INVALID_TEXT, TOO_BIG, max_fragments

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import uvicorn
    from uvicorn._types import ASGIReceiveEvent, WebSocketReceiveEvent
    from uvicorn.server import ServerState
    from websockets.frames import Frame

    from gateway.transport.config import TransportConfig
    from gateway.transport.uvicorn.guard import GuardedTransport

SLICE_BYTES = 2_048  # parsed at a time: 340 of the smallest frames, 4 ms


class BoundedReadingProtocol(WebSocketsSansIOProtocol):
    """A WebSocket whose reading pauses when the application does not receive.

    That is when MAX_QUEUED_MESSAGES, or `max_frame_bytes` of messages, wait for it. Held at most:
    those, one message being collected, and one chunk of the socket (256 KiB).
    """

    transport: GuardedTransport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._config = cast("TransportConfig", config)
        self._limits = self._config.limits
        self._unparsed = bytearray()
        self._message = bytearray()
        self._queued_bytes = 0
        self._max_fragments = max_fragments(self._limits.max_frame_bytes)
        self._fragments = 0  # of the message being collected
        self._other_frames = 0  # of this turn, that were no whole message
        self._leaving_frames = LEAVING_FRAMES  # of any kind, after our close
        self._must_rest = False  # the rest waits for another turn of the loop
        self._bucket: TokenBucket | None = None
        self.on_other_frames: Callable[[int], None] | None = None  # who counts them
        self.heard_at_s = self.loop.time()
        self._is_over = False  # not by the application's close: its `send` is told

    # --- what the ending half does ---

    def _refuse_handshake(self, answer: answers.Refusal) -> None:
        raise NotImplementedError

    def _fail(self, code: int, reason: str) -> None:
        raise NotImplementedError

    # --- bytes to frames ---

    def data_received(self, data: bytes) -> None:
        """Parse as much as the application keeps up with, and pause reading before the rest."""
        if self._is_over:
            return
        self.heard_at_s = self.loop.time()
        if not self._unparsed and len(data) <= SLICE_BYTES and self._may_parse():
            self._parse(data)
            self._tell_others()
        else:
            self._unparsed += data
            self._parse_on()
        if not self._may_parse():
            self._pause_reading()

    def _may_parse(self) -> bool:
        """Whether the next frame has a place to go."""
        if self.close_sent:
            return True  # it is dropped
        if not self.handshake_complete:
            # A frame before our 101 would be answered before it.
            return not self.handshake_initiated
        return (
            self.queue.qsize() < MAX_QUEUED_MESSAGES
            and self._queued_bytes < self._limits.max_frame_bytes
        )

    def _parse_on(self) -> None:
        """Parse what waits, slice by slice; read on when nothing waits any more."""
        if self._must_rest:
            return
        while self._unparsed and self._may_parse() and not self._is_over:
            if self._other_frames:
                self._must_rest = True
                self._pause_reading()
                self.loop.call_soon(self._go_on)
                break
            data = bytes(self._unparsed[:SLICE_BYTES])
            del self._unparsed[:SLICE_BYTES]
            self._parse(data)
        self._tell_others()
        if (
            self.read_paused
            and not self._must_rest
            and not self._unparsed
            and self._may_parse()
            and self.queue.qsize() <= MAX_QUEUED_MESSAGES // 2  # not at every message
        ):
            self.read_paused = False
            self.transport.resume_reading()

    def _parse(self, data: bytes) -> None:
        self.conn.receive_data(data)
        self.handle_events()
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        elif self.conn.handshake_exc is not None and not self.handshake_initiated:
            # uvicorn 0.54 asks for events only, of which there are none, and forgets the socket.
            self._refuse_handshake(answers.INVALID)

    def _go_on(self) -> None:
        """Parse what waits."""
        self._must_rest = False
        if not self._is_over:
            self._parse_on()

    def _pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    # --- frames that are no message ---

    def _tell_others(self) -> None:
        """Tell who counts them how many there were in this turn."""
        count, self._other_frames = self._other_frames, 0
        if not count or self._is_over:
            return
        if not self.close_sent:
            (self.on_other_frames or self._limit_other_frames)(count)
            return
        self._leaving_frames -= count
        if self._leaving_frames < 0:  # a flood: the peer's close frame is not looked for in it
            self._is_over = True
            self._unparsed.clear()
            self.transport.finish()

    def _limit_other_frames(self, count: int) -> None:
        limits = self._limits
        if self._bucket is None:
            self._bucket = TokenBucket.full(
                limits.other_frames_per_s, burst=limits.other_frames_burst, now=self.heard_at_s
            )
        if self._bucket.take(self.heard_at_s, count):
            self._fail(CloseCode.RATE_LIMITED, CloseCode.RATE_LIMITED.reason)

    def handle_pong(self, event: Frame) -> None:
        """Count it: we never ask."""
        del event
        self._other_frames += 1

    # --- frames to messages ---

    def handle_text(self, event: Frame) -> None:
        """Begin a text message."""
        self._begin_message("text", event)

    def handle_bytes(self, event: Frame) -> None:
        """Begin a binary message."""
        self._begin_message("bytes", event)

    def _begin_message(self, kind: Literal["text", "bytes"], event: Frame) -> None:
        self.curr_msg_data_type = kind
        self._message.clear()
        self._fragments = 0
        if not event.fin:
            self._other_frames += 1
        self._take_part(event)

    def handle_cont(self, event: Frame) -> None:
        """Add a frame to the message, unless there are too many of them."""
        if self._is_over:
            return
        self._other_frames += 1
        self._fragments += 1
        if self._fragments >= self._max_fragments:  # the first is not counted
            self._fail(TOO_BIG, "too many fragments")
        else:
            self._take_part(event)

    def _take_part(self, event: Frame) -> None:
        """Add a frame to the message; its size was checked when it was parsed."""
        if event.fin and not self._message:
            self._offer(bytes(event.data))
        else:
            self._message += event.data
            if event.fin:
                data = bytes(self._message)
                self._message.clear()
                self._offer(data)

    def _offer(self, data: bytes) -> None:
        """Queue a whole message for the application."""
        if self.close_sent:
            self._other_frames += 1
            return
        message: WebSocketReceiveEvent
        if self.curr_msg_data_type == "bytes":
            message = {"type": "websocket.receive", "bytes": data}
        else:
            try:
                message = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                # RFC 6455 section 8.1.
                self._fail(INVALID_TEXT, "invalid UTF-8")
                return
        self._queued_bytes += _size(message)
        self.queue.put_nowait(message)

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message, and read on if there is room again."""
        message = await self.queue.get()
        if message["type"] == "websocket.receive":
            self._queued_bytes -= _size(message)
        if self._unparsed or self.read_paused:
            self._parse_on()
        return message


def _size(message: WebSocketReceiveEvent) -> int:
    data = message.get("bytes")
    return len(data if data is not None else message.get("text") or "")
