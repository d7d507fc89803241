"""The WebSocket route: who comes in, in which codec, and the two lines a connection logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.codecs import ENCODERS, SUBPROTOCOLS
from gateway.codes import CloseCode
from gateway.connection import Connection
from gateway.errors import ExpiredToken, InvalidToken, StoreError
from gateway.messages import Disconnect
from gateway.socket import Socket
from gateway.store.calls import Caller
from gateway.token_keys import KeysUnavailable

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection
    from starlette.websockets import WebSocket

    from gateway.replica import Replica
    from gateway.tokens import Identity

BEARER = "bearer "
RETRY_MS = 1000  # when keys or storage are away
_log = structlog.get_logger(__name__)


class Refused(Exception):
    """This connection is not let in; the client is told why on the accepted socket."""

    def __init__(self, code: CloseCode, message: str, *, retry_after_ms: int = 0) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms


async def serve_websocket(replica: Replica, websocket: WebSocket) -> None:
    """Serve one WebSocket from its handshake to its end."""
    offered = [name for name in websocket.scope["subprotocols"] if name in SUBPROTOCOLS]
    await websocket.accept(offered[0] if offered else None)
    socket = Socket(websocket)
    encoder = ENCODERS[SUBPROTOCOLS[offered[0]] if offered else "json"]
    try:
        identity = await _admit(replica, websocket)
    except Refused as refused:
        push = Disconnect(
            code=refused.code,
            reason=refused.code.reason,
            message=refused.message,
            reconnect=refused.code.may_reconnect,
            retry_after_ms=refused.retry_after_ms,
        )
        _log.info("connection_refused", code=int(refused.code), reason=refused.message)
        await socket.send(encoder.encode(push))
        await socket.close(refused.code, refused.code.reason)
        return
    await _serve(replica, Connection(replica, socket, identity, encoder))


async def identify(replica: Replica, request: HTTPConnection) -> Identity:
    """The identity behind the credential of a request.

    Raises:
        InvalidToken: none was given, or it is refused.
        StoreUnavailable, KeysUnavailable: cannot be told now.
    """
    ticket = request.query_params.get("ticket")
    if ticket is not None:
        return await replica.store.tickets.redeem(ticket)
    token = request.query_params.get("token") or bearer(request)
    if not token:
        raise InvalidToken("no token was given")
    return await replica.verifier.verify(token, now=replica.clock.unix_s())


def bearer(request: HTTPConnection) -> str:
    """The token of the Authorization header; empty if there is none."""
    header = request.headers.get("authorization", "")
    return header[len(BEARER) :].strip() if header[: len(BEARER)].lower() == BEARER else ""


async def _admit(replica: Replica, websocket: WebSocket) -> Identity:
    try:
        identity = await identify(replica, websocket)
    except ExpiredToken as exc:
        raise Refused(CloseCode.TOKEN_EXPIRED, str(exc)) from exc
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


async def _serve(replica: Replica, connection: Connection) -> None:
    caller, clock = connection.caller, replica.clock
    bound = _log.bind(
        connection_id=connection.connection_id, tenant=caller.tenant, subject=caller.subject
    )
    bound.info("connection_opened")
    replica.add(connection)
    try:
        await connection.run()
    finally:
        session = connection.performer.session
        bound.info(
            "connection_closed",
            code=connection.closed_with and int(connection.closed_with),
            session_id=session and session.session_id,
            generation=session and session.generation,
            frames_in=connection.frames_in,
            lasted_s=round(clock.monotonic_s() - connection.opened_at, 3),
        )
        try:
            await connection.performer.disconnect()
        except StoreError as exc:
            bound.warning("disconnect_unrecorded", problem=str(exc))
        finally:
            replica.remove(connection)
