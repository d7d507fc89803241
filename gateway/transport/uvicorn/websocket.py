"""WebSockets with limits: uvicorn's sansio protocol, bounded in time and bytes.

What differs from uvicorn 0.54, each for a fault measured there:

- the handshake has a time limit, and one that cannot be parsed is answered and closed;
- reading is bounded (reading.py);
- of the pongs that cannot be written, only the newest is kept (a flood of pings grew the buffer);
- our close never waits for the peer to read first, and every end has a time limit;
- the peer's unread data is drained before the end, so that our close frame is not lost to an RST.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from websockets.exceptions import InvalidState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.codes import CloseCode
from gateway.protocol.frames import MAX_REASON_BYTES
from gateway.transport import refusal as answers
from gateway.transport.control import ABNORMAL, EXTENSION, TransportControl
from gateway.transport.uvicorn.guard import guarded
from gateway.transport.uvicorn.reading import BoundedReadingProtocol
from gateway.transport.uvicorn.timer import Timer
from gateway.transport.websocket.ending import PONGS_AT_ONCE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import uvicorn
    from uvicorn._types import ASGISendEvent, WebSocketCloseEvent, WebSocketSendEvent
    from uvicorn.server import ServerState
    from websockets.frames import Frame
    from websockets.http11 import Request

    from gateway.transport.addresses import Address
    from gateway.transport.limits import Limits

PONG_OPCODE = b"\x8a"

# Quiet on purpose: at INFO uvicorn logs the URL with its token and `websockets` every open and
# close; at DEBUG `websockets` logs every frame. The connection writes its own canonical lines.
_log = logging.getLogger(__name__)
_log.setLevel(logging.WARNING)


class GatewayWebSocketProtocol(BoundedReadingProtocol):
    """One WebSocket connection: its beginning, its end, and what is written."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _log
        self.conn = server_protocol(self._limits)
        self._handshake_timer = Timer(self.loop, self._handshake_expired)
        self._late_pong: bytes | None = None
        self.address: Address | None = None  # whose socket this is counted as, until it is lost

    # --- the connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the handshake, the application's answer included, a time limit."""
        super().connection_made(guarded(transport, self.loop, self._limits))
        self._handshake_timer.arm(self._limits.head_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application, after the messages that it has not received yet."""
        self._handshake_timer.disarm()
        if self.address is not None:
            self.address.leave()
        self.transport.connection_lost()
        self._unparsed.clear()
        # uvicorn would say 1005, as if an empty close frame had come.
        self.queue.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL})
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """Close, within the time limit: the event loop's own close has none."""
        self.transport.peer_ended()

    def pause_writing(self) -> None:
        """Give the peer `write_timeout_s` to read; `send` waits meanwhile."""
        super().pause_writing()
        self.transport.writing_paused()

    def resume_writing(self) -> None:
        """Let `send` go on, and answer the newest ping."""
        super().resume_writing()
        self.transport.writing_resumed()
        if self._late_pong is not None and not self.transport.is_closing():
            self.transport.write(self._late_pong)
        self._late_pong = None

    def shutdown(self) -> None:
        """End politely; the server aborts what is still there a moment later."""
        if self.close_sent or self.transport.is_closing():
            self.transport.close()
        elif self.handshake_complete:
            self._start_close(CloseCode.DRAINING, CloseCode.DRAINING.reason)
            self._is_over = True
            self.transport.finish()
        else:
            self._refuse_handshake()

    # --- the handshake ---

    def handle_connect(self, event: Request) -> None:
        """Start the application; nothing more is read until it has accepted."""
        super().handle_connect(event)
        if self.close_sent:
            self._handshake_timer.disarm()
            return
        cast("dict[str, object]", self.scope["extensions"])[EXTENSION] = GuardedControl(self)

    def _handshake_expired(self) -> None:
        if not self._is_over and not self.transport.is_closing():
            self._refuse_handshake()

    def _refuse_handshake(self, answer: answers.Refusal = answers.NOT_ACCEPTED) -> None:
        """Answer in HTTP, unless the application's answer has begun, and end."""
        self._config.refused[answer.status] += 1
        self._handshake_timer.disarm()
        self._is_over = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": ABNORMAL})
        self.transport.write(answer.to_bytes())
        self.transport.finish()

    # --- from the peer ---

    def handle_ping(self) -> None:
        """Write the pongs of a slice, a few and the newest, or keep that until the peer reads.

        RFC 6455 section 5.5.3: of several pings, only the newest needs its pong.
        """
        self._other_frames += 1
        output = self.conn.data_to_send()
        pongs = [frame for frame in output if frame[:1] == PONG_OPCODE]
        if len(pongs) < len(output):
            self.transport.write(b"".join(frame for frame in output if frame[:1] != PONG_OPCODE))
        if pongs and not self.writable.is_set():
            self._late_pong = pongs[-1]
        elif pongs and not self.close_sent and not self.transport.is_closing():
            at_once = 1 if self._unparsed else PONGS_AT_ONCE
            self.transport.write(b"".join(pongs[: at_once - 1] + pongs[at_once - 1 :][-1:]))

    def handle_close(self, event: Frame) -> None:
        """End: the peer has closed, or has answered our close."""
        super().handle_close(event)
        self._is_over = True

    def handle_parser_exception(self) -> None:
        """End: the peer broke the protocol (1002), sent bad text (1007) or too much (1009)."""
        if self.close_sent:
            self.transport.finish()  # it was closing; there will be no close frame of the peer's
        close = self.conn.close_sent
        code, reason = (close.code, close.reason) if close else (ABNORMAL, "")
        self._last_words(code, reason)

    def _fail(self, code: int, reason: str) -> None:
        """End because of what the peer did, or of our own fault."""
        self.conn.fail(code, reason)
        self._last_words(code, reason)

    def _last_words(self, code: int, reason: str) -> None:
        """Tell the application, write the close frame, and read on only for the peer's end."""
        if self._is_over or self.close_sent:
            return
        self._is_over = self.close_sent = True
        self._unparsed.clear()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if not self.transport.is_closing():
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.finish()

    # --- the application ---

    async def send(self, message: ASGISendEvent) -> None:
        """Write a message, when the peer has read enough of those before.

        Raises:
            ClientDisconnected: the connection has ended; also after `write_timeout_s` in which
                the peer read nothing. It is an OSError.
        """
        if message["type"] == "websocket.close" and self.handshake_complete:
            self._close(message)
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self._is_over or self.disconnected:
            raise ClientDisconnected
        if message["type"] == "websocket.send" and self.handshake_complete:
            self._send(message)
            return
        await super().send(message)
        if message["type"] == "websocket.accept" and self.handshake_complete:
            self._handshake_timer.disarm()
            self._parse_on()

    def _send(self, message: WebSocketSendEvent) -> None:
        data = message.get("bytes")
        try:
            if data is not None:
                self.conn.send_binary(data)
            else:
                self.conn.send_text((message.get("text") or "").encode())
        except InvalidState as exc:
            raise ClientDisconnected from exc
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _close(self, message: WebSocketCloseEvent) -> None:
        """Close without waiting for the peer to read; it has `close_timeout_s` to do so."""
        if self._is_over or self.close_sent or self.transport.is_closing():
            return  # it has ended already
        self._start_close(message.get("code", CloseCode.NORMAL), message.get("reason") or "")
        self.close_timer = self.loop.call_later(self._limits.close_timeout_s, self.transport.abort)
        self._parse_on()

    def _start_close(self, code: int, reason: str) -> None:
        """Write the close frame, and tell `receive`."""
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        try:
            self.conn.send_close(code, short)
        except InvalidState as exc:
            raise ClientDisconnected from exc
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))

    def send_500_response(self) -> None:
        """Tell the peer that the application failed: 1011 once open, else 500."""
        if self.handshake_complete and self.conn.state is State.OPEN:
            self._fail(CloseCode.SERVER_FAULT, CloseCode.SERVER_FAULT.reason)
        else:
            super().send_500_response()


class GuardedControl(TransportControl):
    """Sees and cuts a connection of this class."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: GatewayWebSocketProtocol) -> None:
        self._protocol = protocol

    def abort(self) -> None:
        """Drop the TCP connection now."""
        self._protocol.transport.abort()

    def write_buffer_bytes(self) -> int:
        """Return how many bytes wait here."""
        return self._protocol.transport.get_write_buffer_size()

    def heard_at_s(self) -> float:
        """Return when the peer's last bytes came, in seconds of `loop.time()`."""
        return self._protocol.heard_at_s

    def tell_other_frames(self, listener: Callable[[int], None]) -> None:
        """Let the application count; see TransportControl."""
        self._protocol.on_other_frames = listener


def server_protocol(limits: Limits) -> ServerProtocol:
    """Make the frame parser.

    A compressed message is inflated up to `max_frame_bytes`, never further. Its window is 4 KiB,
    not 32: a client that cannot promise that gets no compression.
    """
    deflate = ServerPerMessageDeflateFactory(
        server_max_window_bits=12,
        client_max_window_bits=12,
        require_client_max_window_bits=True,
        compress_settings={"level": 5, "memLevel": 5},
    )
    return ServerProtocol(
        extensions=[deflate] if limits.compression else [],
        max_size=limits.max_frame_bytes,
        logger=_log,
    )
