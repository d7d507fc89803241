"""The WebSocket route: who comes in, and in which codec."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from gateway.codes import CloseCode
from gateway.connections.connection import Connection
from gateway.connections.socket import socket_of
from gateway.errors import EarlyToken, ExpiredToken, InvalidToken, StoreError
from gateway.identity.keys import KeysUnavailable
from gateway.protocol.decoder import ENCODERS, SUBPROTOCOLS
from gateway.protocol.messages import Disconnect
from gateway.store.calls import Caller

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from gateway.connections.replica import Replica
    from gateway.identity.tokens import Identity
    from gateway.protocol.decoder import FrameEncoder

BEARER = b"bearer "
RETRY_MS = 1000  # when keys or storage are away
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


async def identify(replica: Replica, request: HTTPConnection) -> Identity:
    """The identity behind the credential of a request.

    Raises:
        InvalidToken: none was given, or it is refused.
        StoreUnavailable, KeysUnavailable: cannot be told now.
    """
    parameters = parameters_of(request.scope["query_string"])
    ticket = parameters.get("ticket")
    if ticket is not None:
        return await replica.store.tickets.redeem(ticket)
    token = parameters.get("token") or bearer(request.scope["headers"])
    if not token:
        raise InvalidToken("no token was given")
    return await replica.verifier.verify(token, now=replica.clock.unix_s())


def parameters_of(query_string: bytes) -> dict[str, str]:
    """The parameters of a query; of several of one name, the last."""
    query = query_string.decode("latin-1")
    if "%" in query or "+" in query:
        return dict(parse_qsl(query, keep_blank_values=True))
    # A token needs no escapes: saves 24,000 instructions
    split = [parameter.partition("=") for parameter in query.split("&")]
    return {name: value for name, _, value in split}


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The token of the Authorization header; empty if there is none."""
    value = dict(headers).get(b"authorization", b"")
    is_bearer = value[: len(BEARER)].lower() == BEARER
    return value[len(BEARER) :].decode("latin-1").strip() if is_bearer else ""


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
    if replica.connections_of(caller) >= replica.settings.max_connections_per_subject:
        raise Refused(
            CloseCode.RATE_LIMITED, "too many connections of this subject", retry_after_ms=RETRY_MS
        )
    return identity


def retry_ms(exc: StoreError | KeysUnavailable) -> int:
    """When a credential that could not be checked may be shown again."""
    return round(exc.retry_after_s * 1000) if isinstance(exc, KeysUnavailable) else RETRY_MS
