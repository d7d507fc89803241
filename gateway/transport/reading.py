"""The reading half of a WebSocket: only as far as the application keeps up.

uvicorn 0.54 parses a whole chunk of the socket at once, however many messages are in it, and keeps
the fragments of a message in a list, which a flood of empty ones grows for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from gateway.transport import refusal as answers
from gateway.transport.frame_parser import INVALID_TEXT
from gateway.transport.limits import MAX_QUEUED_MESSAGES

if TYPE_CHECKING:
    import asyncio

    import uvicorn
    from uvicorn._types import ASGIReceiveEvent, WebSocketReceiveEvent
    from uvicorn.server import ServerState
    from websockets.frames import Frame

    from gateway.transport.config import TransportConfig
    from gateway.transport.guard import GuardedTransport

SLICE_BYTES = 4_096  # parsed at a time: 680 of the smallest frames


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
        while self._unparsed and self._may_parse() and not self._is_over:
            data = bytes(self._unparsed[:SLICE_BYTES])
            del self._unparsed[:SLICE_BYTES]
            self._parse(data)
        if (
            self.read_paused
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

    def _pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    # --- frames to messages ---

    def handle_text(self, event: Frame) -> None:
        """Begin a text message."""
        self.curr_msg_data_type = "text"
        self._message.clear()
        self.handle_cont(event)

    def handle_bytes(self, event: Frame) -> None:
        """Begin a binary message."""
        self.curr_msg_data_type = "bytes"
        self._message.clear()
        self.handle_cont(event)

    def handle_cont(self, event: Frame) -> None:
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
