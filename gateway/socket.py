"""The ASGI WebSocket as three verbs, and the power to cut it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.websockets import WebSocketDisconnect, WebSocketState

from gateway.transport.control import EXTENSION, control_of

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

    from gateway.codecs import Frame
    from gateway.transport.control import TransportControl


class Socket:
    """An accepted WebSocket. Every method is safe after the peer has gone."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._control: TransportControl | None = None
        if EXTENSION in websocket.scope.get("extensions", {}):  # else another ASGI server
            self._control = control_of(websocket.scope)

    async def receive(self) -> Frame | None:
        """The next frame; None when the connection is over."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def send(self, frame: Frame) -> bool:
        """Send one frame; False if the connection is over."""
        key = "text" if isinstance(frame, str) else "bytes"
        try:
            await self._websocket.send({"type": "websocket.send", key: frame})
        except (WebSocketDisconnect, RuntimeError, OSError):
            return False
        return True

    async def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; what was sent before still leaves."""
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return

    def abort(self) -> None:
        """Drop the connection below the WebSocket now."""
        if self._control is not None:
            self._control.abort()
