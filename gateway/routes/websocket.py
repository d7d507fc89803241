"""The WebSocket route: who comes in, and in which codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.codes import CloseCode
from gateway.connections.connection import Connection
from gateway.connections.socket import socket_of
from gateway.errors import EarlyToken, ExpiredToken, InvalidToken, StoreError
from gateway.identity.caller import Caller
from gateway.identity.keys import KeysUnavailable
from gateway.protocol.decoder import SUBPROTOCOLS
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.messages import Disconnect
from gateway.routes.credentials import RETRY_MS, identify, retry_ms

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from gateway.connections.replica import Replica
    from gateway.identity.tokens import Identity
    from gateway.protocol.encoders import FrameEncoder

_log = structlog.get_logger(__name__)


class Refused(Exception):
    """This connection is not let in; the client is told why on the accepted socket."""

    def __init__(self, code: CloseCode, message: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


async def serve_websocket(replica: Replica, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket from its handshake on; to its end, unless the server takes it over."""
    opened_at = replica.clock.monotonic_s()
    offered = [name for name in scope["subprotocols"] if name in SUBPROTOCOLS]
    subprotocol = offered[0] if offered else None
    await receive()  # websocket.connect
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": ()})
    websocket = WebSocket(scope, receive, send)
    # Starlette's own accept() asks for each message's type: it would cost 9,000 instructions more
    websocket.client_state = websocket.application_state = WebSocketState.CONNECTED
    encoder = ENCODERS[SUBPROTOCOLS[offered[0]] if offered else "json"]
    try:
        identity = await _admit(replica, websocket)
    except Refused as refused:
        await _refuse(websocket, refused, encoder)
        return
    limit_s = replica.settings.write_timeout_s
    socket = socket_of(websocket, encoder, write_timeout_s=limit_s)
    connection = Connection(replica, socket, identity, encoder, opened_at=opened_at)
    connection.open()
    await socket.serve(connection)


async def _refuse(websocket: WebSocket, refused: Refused, encoder: FrameEncoder) -> None:
    push = Disconnect(
        code=refused.code,
        reason=refused.code.reason,
        message=refused.message,
        reconnect=refused.code.may_reconnect,
        retry_after_ms=refused.retry_after_ms,
    )
    _log.info("connection_refused", code=int(refused.code), reason=refused.message)
    payload = encoder.encode(push)
    try:
        if encoder.is_text:
            await websocket.send_text(payload.decode())
        else:
            await websocket.send_bytes(payload)
        await websocket.close(refused.code, refused.code.reason)
    except (WebSocketDisconnect, RuntimeError, OSError):
        return  # it did not wait for the answer


async def _admit(replica: Replica, websocket: WebSocket) -> Identity:
    try:
        identity = await identify(replica, websocket)
    except ExpiredToken as exc:
        raise Refused(CloseCode.TOKEN_EXPIRED, str(exc)) from exc
    except EarlyToken as exc:
        raise Refused(CloseCode.UNAVAILABLE, str(exc), retry_after_ms=exc.retry_after_ms) from exc
    except InvalidToken as exc:
        raise Refused(CloseCode.UNAUTHORIZED, str(exc)) from exc
    except (StoreError, KeysUnavailable) as exc:
        _log.warning("credential_unchecked", problem=str(exc))
        raise Refused(
            CloseCode.UNAVAILABLE,
            "the credential cannot be checked now",
            retry_after_ms=retry_ms(exc),
        ) from exc
    caller = Caller(identity.tenant, identity.subject)
    if replica.connections.count_of(caller) >= replica.settings.max_connections_per_subject:
        raise Refused(
            CloseCode.RATE_LIMITED, "too many connections of this subject", retry_after_ms=RETRY_MS
        )
    return identity
