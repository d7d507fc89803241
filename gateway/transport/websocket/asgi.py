"""The application behind a WebSocket: its `receive` and `send`, until a receiver takes over."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast

from uvicorn.protocols.utils import ClientDisconnected

from gateway.codes import CloseCode
from gateway.protocol.frames import binary_frame, text_frame
from gateway.transport.limits import MAX_QUEUED_MESSAGES
from gateway.transport.websocket.handshake import http_response, switching_protocols

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from uvicorn._types import (
        ASGIReceiveEvent,
        ASGISendEvent,
        WebSocketAcceptEvent,
        WebSocketDisconnectEvent,
        WebSocketSendEvent,
    )

    from gateway.protocol.rate_limit import TokenBucket


_log = logging.getLogger(__name__)


class ServedConnection(Protocol):
    """What an application's `receive` and `send` do to the connection below them."""

    ended_with: tuple[int, str]
    is_accepted: bool
    is_open: bool
    is_writable: bool

    @property
    def is_over(self) -> bool:
        """Whether nothing is received or written any more."""

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every answer."""

    def accept(self, response: bytes) -> None:
        """Open the WebSocket with this answer."""

    def answer(self, response: bytes) -> None:
        """Answer the handshake in HTTP, and end."""

    def pause_reading(self) -> None:
        """Give no more messages."""

    def resume_reading(self) -> None:
        """Give what waits, then what comes."""

    def write(self, frames: bytes) -> None:
        """Write finished frames, if the connection is open."""

    def close(self, code: int, reason: str) -> None:
        """Write a close frame, and end."""

    def abort(self) -> None:
        """Drop the connection now."""

    def heard_at_s(self) -> float:
        """When the peer's last bytes came, in seconds of `loop.time()`."""

    def other_frames_bucket(self) -> TokenBucket:
        """What frames that are no messages are counted in."""

    def flooded(self) -> None:
        """End a connection of too many of those."""

    def application_failed(self) -> None:
        """Tell the peer that the application failed."""

    def application_left(self) -> None:
        """End a connection that nobody has any more."""


class AsgiReceiver:
    """Queues messages for an application; reading pauses when it does not receive.

    That is when MAX_QUEUED_MESSAGES, or `max_bytes` of messages, wait for it.
    """

    __slots__ = (
        "_accept_key",
        "_changed",
        "_connection",
        "_disconnect",
        "_is_connected",
        "_is_handed_over",
        "_max_bytes",
        "_on_other_frames",
        "_other_frames",
        "_queue",
        "_queued_bytes",
        "_response",
    )

    def __init__(self, connection: ServedConnection, accept_key: bytes, *, max_bytes: int) -> None:
        self._connection = connection
        self._accept_key = accept_key
        self._max_bytes = max_bytes
        self._queue: list[str | bytes] = []
        self._queued_bytes = 0
        self._is_connected = False  # the application was told `websocket.connect`
        self._is_handed_over = False
        self._disconnect: WebSocketDisconnectEvent | None = None
        self._changed: asyncio.Event | None = None  # something was queued, or written by the loop
        self._response: tuple[int, list[tuple[bytes, bytes]], bytes] | None = None
        self._other_frames: TokenBucket | None = None
        self._on_other_frames: Callable[[int], None] | None = None

    @property
    def queued(self) -> int:
        """How many messages wait for the application."""
        return len(self._queue)

    # --- from the connection ---

    def message(self, data: str | bytes) -> None:
        """Queue a message."""
        self._queue.append(data)
        self._queued_bytes += len(data)
        if len(self._queue) >= MAX_QUEUED_MESSAGES or self._queued_bytes >= self._max_bytes:
            self._connection.pause_reading()
        self._wake()

    def other_frames(self, count: int) -> None:
        """Let the application count them, or limit them here."""
        if self._on_other_frames is not None:
            self._on_other_frames(count)
        else:
            self._limit_other_frames(count)

    def tell_other_frames(self, listener: Callable[[int], None]) -> None:
        """Let the application count them."""
        self._on_other_frames = listener

    def _limit_other_frames(self, count: int) -> None:
        connection = self._connection
        if self._other_frames is None:
            self._other_frames = connection.other_frames_bucket()
        if self._other_frames.take(connection.heard_at_s(), count):
            connection.flooded()

    def writing_resumed(self) -> None:
        """Let `send` go on."""
        self._wake()

    def writing_stalled(self) -> None:
        """Let go of the peer: an application cannot be told."""
        self._connection.abort()

    def ended(self) -> None:
        """Tell `receive`, after the messages, and `send`."""
        self._told(*self._connection.ended_with)

    def hand_over(self) -> list[str | bytes]:
        """Return what was not received; the application's end is not the connection's any more."""
        self._is_handed_over = True
        queue, self._queue = self._queue, []
        return queue

    def _told(self, code: int, reason: str) -> None:
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self._wake()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _change(self) -> None:
        """Wait until something has changed; whoever waits looks again."""
        if self._changed is None:
            self._changed = asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    # --- the application ---

    async def run(self, app: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> None:
        """Run the application, and end the connection with it unless it was handed over."""
        try:
            await app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except asyncio.CancelledError:
            self._connection.abort()
            raise
        except Exception:  # noqa: BLE001  # the edge of the application's task
            _log.exception("Exception in ASGI application")
            self._connection.application_failed()
        if not self._is_handed_over:
            self._connection.application_left()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next message, and read on if there is room again."""
        if not self._is_connected:
            self._is_connected = True
            return {"type": "websocket.connect"}
        while not self._queue:
            if self._disconnect is not None:
                return self._disconnect
            await self._change()
        data = self._queue.pop(0)
        self._queued_bytes -= len(data)
        if len(self._queue) <= MAX_QUEUED_MESSAGES // 2 and self._queued_bytes < self._max_bytes:
            self._connection.resume_reading()
        if isinstance(data, str):
            return {"type": "websocket.receive", "text": data}
        return {"type": "websocket.receive", "bytes": data}

    async def send(self, message: ASGISendEvent) -> None:
        """Write a message, when the peer has read enough of those before.

        Raises:
            ClientDisconnected: the connection has ended; also after `write_timeout_s` in which
                the peer read nothing. It is an OSError.
            RuntimeError: this message cannot come now.
        """
        connection, kind = self._connection, message["type"]
        if kind == "websocket.close" and connection.is_accepted:
            closing = cast("Any", message)
            self._close(closing.get("code", CloseCode.NORMAL), closing.get("reason") or "")
            return
        while not connection.is_writable and not connection.is_over:
            await self._change()
        if connection.is_over:
            raise ClientDisconnected
        if not connection.is_accepted:
            self._answer(message)
        elif kind != "websocket.send":
            raise RuntimeError(f"{kind} cannot come after websocket.accept")
        elif connection.is_open:
            self._send(cast("WebSocketSendEvent", message))
        else:
            raise ClientDisconnected

    def _send(self, message: WebSocketSendEvent) -> None:
        data = message.get("bytes")
        if data is not None:
            self._connection.write(binary_frame(data))
        else:
            self._connection.write(text_frame((message.get("text") or "").encode()))

    def _close(self, code: int, reason: str) -> None:
        """Close without waiting for the peer to read; `receive` is told at once."""
        if self._connection.is_open:
            self._connection.close(code, reason)
            self._told(code, reason)

    # --- the handshake ---

    def _answer(self, message: ASGISendEvent) -> None:
        kind = message["type"]
        if self._response is None and kind == "websocket.accept":
            self._accept(cast("WebSocketAcceptEvent", message))
        elif self._response is None and kind == "websocket.close":
            forbidden = http_response(HTTPStatus.FORBIDDEN, self._connection.default_headers, b"")
            self._connection.answer(forbidden)
        elif self._response is None and kind == "websocket.http.response.start":
            start = cast("Any", message)
            self._response = start["status"], list(start.get("headers") or ()), b""
        elif self._response is not None and kind == "websocket.http.response.body":
            self._respond(cast("Any", message))
        else:
            raise RuntimeError(f"{kind} cannot come before websocket.accept")

    def _accept(self, message: WebSocketAcceptEvent) -> None:
        headers = [*self._connection.default_headers, *message.get("headers", ())]
        subprotocol = message.get("subprotocol")
        if subprotocol:
            headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        self._connection.accept(switching_protocols(self._accept_key, headers))

    def _respond(self, message: dict[str, Any]) -> None:
        """Collect the response that the application refuses the handshake with; send it whole."""
        if self._response is None:
            return
        status, headers, body = self._response
        body += message.get("body", b"")
        self._response = status, headers, body
        if not message.get("more_body", False):
            headers = [*self._connection.default_headers, *headers]
            self._connection.answer(http_response(status, headers, body))
