"""Performs the requests of one connection, one after the other, and answers each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from msgspec import UNSET, structs

from gateway.codes import CloseCode, ErrorCode
from gateway.context import Context
from gateway.conversing import ConnectionDoings
from gateway.errors import RequestError, StoreUnavailable, TimedOut
from gateway.messages import Connect, ErrorReply, Ping, Pong
from gateway.protocol import Close
from gateway.resume import attach_session, gap_warning, read_conversations, session_ready
from gateway.session import Session
from gateway.token_keys import KeysUnavailable

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.messages import Reply, Request
    from gateway.replica import Replica

UNAVAILABLE = ErrorReply(
    code=ErrorCode.UNAVAILABLE,
    message="storage is unavailable; nothing was accepted, try again",
    retryable=True,
    retry_after_ms=1000,
)
IN_DOUBT = ErrorReply(
    code=ErrorCode.TIMEOUT,
    message="storage did not answer; it may have been done, send it again unchanged",
    retryable=True,
    retry_after_ms=1000,
)
INTERNAL = ErrorReply(
    code=ErrorCode.INTERNAL, message="the gateway failed; it has been logged", retryable=False
)
_log = structlog.get_logger(__name__)


class Performer:
    """The worker's hands: opens the session, calls handlers, turns failures into replies."""

    def __init__(self, replica: Replica, connection: Connection) -> None:
        self.session: Session | None = None
        self._replica = replica
        self._connection = connection

    async def perform(self, request: Request) -> None:
        """Do what a request asks and answer it, whatever happens."""
        kind = type(request).__name__
        try:
            async with asyncio.timeout(self._replica.settings.request_timeout_s):
                await self._answer(request)
        except RequestError as error:
            self.refuse(error, request.id)
        except TimeoutError:
            _log.warning("request_timed_out", type=kind)
            if isinstance(request, Connect):
                self._connection.connect_failed()
            self.refuse(TimedOut("it took too long; it may have been done"), request.id)
        except (StoreUnavailable, KeysUnavailable) as exc:
            _log.warning("request_unavailable", type=kind, problem=str(exc))
            is_in_doubt = isinstance(exc, StoreUnavailable) and exc.may_have_run
            self._fail(request, IN_DOUBT if is_in_doubt else UNAVAILABLE)
        except Exception:  # noqa: BLE001  # the edge: a handler's bug costs its own request only
            _log.exception("request_failed", type=kind)
            self._fail(request, INTERNAL)

    async def imply_connect(self) -> None:
        """Open a new session, as the client began with another request; that fails if it does."""
        try:
            async with asyncio.timeout(self._replica.settings.request_timeout_s):
                await self._connect(Connect(), is_implied=True)
        except (StoreUnavailable, TimeoutError) as exc:
            self._connection.connect_failed()
            _log.warning("connect_unavailable", problem=str(exc))

    async def confirm(self) -> None:
        """The client has used the session: the resume token before this one is dead.

        If Redis is away, the next frame tells it.
        """
        if self.session is not None:
            try:
                await self.session.confirm()
            except StoreUnavailable as exc:
                _log.warning("confirm_unavailable", problem=str(exc))

    def refuse(self, error: RequestError, request_id: str | int | None) -> None:
        """Answer with an error."""
        reply = ErrorReply(
            code=error.code,
            message=error.message,
            retryable=error.code.is_retryable,
            retry_after_ms=UNSET if error.retry_after_ms is None else error.retry_after_ms,
            details=error.details or UNSET,
        )
        self._reply(reply, request_id)

    async def disconnect(self) -> None:
        """The socket is closed: the session's client is away from now on."""
        session, self.session = self.session, None
        if session is not None:
            is_gone = await session.disconnect()
            if is_gone:
                await self._replica.tell_presence(
                    self._connection, session.cursors, is_online=False
                )

    def _fail(self, request: Request, reply: ErrorReply) -> None:
        if isinstance(request, Connect):
            self._connection.connect_failed()
        self._reply(reply, request.id)

    def _reply(self, reply: Reply, request_id: str | int | None) -> None:
        if request_id is not None:
            reply = structs.replace(reply, reply_to=request_id)
        self._connection.push(reply)

    async def _answer(self, request: Request) -> None:
        session = self.session
        if isinstance(request, Connect):
            await self._connect(request)
        elif session is not None:
            await self._handle(session, request)
        elif isinstance(request, Ping):
            self._reply(Pong(), request.id)  # alive is what it asks; that can be told
        else:
            raise StoreUnavailable("no session could be opened")

    async def _handle(self, session: Session, request: Request) -> None:
        connection, replica = self._connection, self._replica
        doings = ConnectionDoings(
            connection.attachments,
            session,
            replica.verifier,
            replica.clock,
            push=connection.push,
            renewed=connection.renewed,
            present=self._tell_present,
        )
        context = Context(
            identity=connection.identity,
            session=session,
            connection=doings,
            connection_id=connection.connection_id,
            store=replica.store,
            settings=replica.settings,
            ids=await replica.store.ids(),
            agents=replica.agents,
            clock=replica.clock,
        )
        reply = await replica.registry.handle(context, request)
        if reply is not None:
            self._reply(reply, request.id)
        doings.run_after_reply()

    async def _connect(self, request: Connect, *, is_implied: bool = False) -> None:
        connection, replica = self._connection, self._replica
        began_ms = round(replica.clock.unix_s() * 1000)
        attached = await attach_session(
            replica.store,
            await replica.store.ids(),
            connection.caller,
            connection.connection_id,
            request,
            began_ms=began_ms,
        )
        await replica.tell_replaced(attached)
        session = Session(
            replica.store.sessions, connection.caller, attached, on_lost=self._lose_session
        )
        resumed = await read_conversations(connection.attachments, attached, request.cursors)
        await session.attach(resumed.positions())
        self.session = session
        self._reply(session_ready(resumed, replica.settings), request.id)
        warning = gap_warning(attached, replica.settings)
        if warning is not None:
            connection.push(warning)
        connection.attachments.begin(resumed.prepared, announce=not is_implied)
        if not attached.was_online:
            await replica.tell_presence(connection, session.cursors, is_online=True)

    async def _tell_present(self, conversation_id: str) -> None:
        await self._replica.tell_presence(self._connection, [conversation_id], is_online=True)

    def _lose_session(self, code: CloseCode) -> None:
        self._connection.close(Close(code))
