"""Has the requests of one connection answered, in order, and sends the replies."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.codes import CloseCode
from gateway.connections.actions import SocketActions
from gateway.connections.opening import (
    attach_session,
    come_to,
    gap_warning,
    read_conversations,
    session_ready,
)
from gateway.connections.session import Session
from gateway.errors import RequestError, StoreUnavailable
from gateway.protocol.messages import Connect, ErrorReply, Ping, Pong
from gateway.protocol.state_machine import Close
from gateway.requests.answering import answer, failed
from gateway.requests.context import Context
from gateway.requests.failures import addressed, error_reply
from gateway.requests.time_limit import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from gateway.connections.inbox import Inbox
    from gateway.connections.replica import Replica
    from gateway.connections.sender import Sender
    from gateway.fanout.subscriptions import Subscriptions
    from gateway.identity.caller import Caller
    from gateway.identity.tokens import Identity
    from gateway.protocol.ids import IdMaker
    from gateway.protocol.messages import Reply, Request
    from gateway.protocol.state_machine import ConnectionProtocol
    from gateway.requests.registry import Answer

RETURN_WINDOW_MS = 2000  # Redis lost the sessions of all clients: they do not come back at once
_log = structlog.get_logger(__name__)


class Dispatcher:
    """Opens the session, has its requests answered, and sends what they are answered with."""

    __slots__ = (
        "_actions",
        "_caller",
        "_close",
        "_connection_id",
        "_context",
        "_identity",
        "_is_next",
        "_opened_at",
        "_protocol",
        "_replica",
        "_sender",
        "_subscriptions",
        "session",
        "time_limit",
    )

    def __init__(
        self,
        replica: Replica,
        identity: Identity,
        *,
        caller: Caller,
        connection_id: str,
        opened_at: float,
        protocol: ConnectionProtocol,
        sender: Sender,
        subscriptions: Subscriptions,
        close: Callable[[Close], None],
    ) -> None:
        self.session: Session | None = None
        self.time_limit = TimeLimit(replica.settings.request_timeout_s)
        self._replica = replica
        self._identity = identity
        self._caller = caller
        self._connection_id = connection_id
        self._opened_at = opened_at
        self._protocol = protocol
        self._sender = sender
        self._subscriptions = subscriptions
        self._close = close
        self._context: Context | None = None
        self._actions: SocketActions | None = None
        self._is_next: Callable[[], Awaitable[None]] | None = None  # until it may answer

    @property
    def has_room(self) -> bool:
        """Whether what is answered would not wait."""
        return self._sender.has_room

    def beside(self, is_next: Callable[[], Awaitable[None]]) -> Dispatcher:
        """Another for the same session: it works meanwhile, and answers once `is_next` returns."""
        other = copy(self)
        other.answer_after(is_next)
        return other

    def answer_after(self, is_next: Callable[[], Awaitable[None]]) -> None:
        """Have time and actions of its own, and answer once `is_next` returns."""
        self.time_limit = TimeLimit(self._replica.settings.request_timeout_s)
        self._is_next = is_next
        if self.session is not None and self._context is not None:
            self._begin_session(self.session, self._context.ids)

    def take(self, first: Request, inbox: Inbox | tuple[()]) -> list[Request]:
        """Take from an inbox what is performed in one step with a request that was taken."""
        requests, context = [first], self._context
        if context is not None and inbox:
            joins = self._replica.registry.joins(context, first)
            if joins is not None:
                requests += inbox.take_joining(joins)
        return requests

    async def perform(self, requests: Sequence[Request]) -> None:
        """Do what requests ask, in one step, and answer each."""
        limit, context = self.time_limit, self._context
        if context is None:
            replies = await answer(self, None, requests, limit=limit)
        else:
            replies = await answer(self._replica.registry, context, requests, limit=limit)
        if self._is_next is not None:
            await self._is_next()
        waiting = self._send(requests, replies)
        if waiting is not None:
            await waiting

    def _send(
        self, requests: Sequence[Request], replies: Sequence[Reply | None]
    ) -> Awaitable[None] | None:
        """Send replies; to be awaited if the client has not read yet what was sent before."""
        for number, reply in enumerate(replies):
            if reply is None:
                continue
            if type(reply) is ErrorReply and type(requests[number]) is Connect:
                self._protocol.connect_failed()
            try:
                waiting = self._sender.push_when_it_fits(reply)
            except Exception as exc:  # noqa: BLE001  # the edge: a reply that cannot be encoded
                (error,) = failed([requests[number]], exc)
                waiting = self._sender.push_when_it_fits(error)
            if waiting is not None:
                return self._send_rest(waiting, requests[number + 1 :], replies[number + 1 :])
        if self._actions is not None:
            self._actions.run_after_reply()
        return None

    async def _send_rest(
        self,
        waiting: Awaitable[None],
        requests: Sequence[Request],
        replies: Sequence[Reply | None],
    ) -> None:
        await waiting
        further = self._send(requests, replies)
        if further is not None:
            await further

    async def imply_connect(self) -> None:
        """Open a new session, as the client began with another request; that fails if it does."""
        try:
            with self.time_limit:
                await self._connect(Connect(), is_implied=True)
        except (StoreUnavailable, TimeoutError, RequestError) as exc:
            self._protocol.connect_failed()
            _log.warning("connect_unavailable", problem=str(exc))

    @property
    def is_unconfirmed(self) -> bool:
        """Whether the client is about to use its session for the first time."""
        return self.session is not None and not self.session.is_confirmed

    async def confirm(self) -> None:
        """The client has used the session: the resume token before this one is dead.

        If Redis is away, the next frame tells it.
        """
        if self.session is not None:
            try:
                await self.session.confirm()
            except StoreUnavailable as exc:
                _log.warning("confirm_unavailable", problem=str(exc))

    async def refuse(self, error: RequestError, request_id: str | int | None) -> None:
        """Answer with an error."""
        await self._reply(error_reply(error), request_id)

    async def disconnect(self) -> None:
        """The socket is closed: the session's client is away from now on."""
        session, self.session = self.session, None
        self._context = self._actions = None
        if session is not None:
            is_gone = await session.disconnect()
            if is_gone:
                self._replica.presence.tell(
                    session.caller,
                    self._connection_id,
                    session.cursors,
                    is_online=False,
                )

    async def _reply(self, reply: Reply, request_id: str | int | None) -> None:
        """Send a reply when there is room for it: who does not read is not answered on."""
        waiting = self._sender.push_when_it_fits(addressed(reply, request_id))
        if waiting is not None:
            await waiting

    async def handle(self, _: None, requests: Sequence[Request]) -> Sequence[Answer]:
        """Handle requests in the place of the registry, until there is a session."""
        request = requests[0]
        if isinstance(request, Connect):
            await self._connect(request)
            return (None,)
        if isinstance(request, Ping):
            return (Pong(),)  # alive is what it asks; that can be told
        raise StoreUnavailable("no session could be opened")

    async def _connect(self, request: Connect, *, is_implied: bool = False) -> None:
        replica = self._replica
        ids = await replica.store.ids()
        attached = await attach_session(
            replica.store,
            ids,
            self._caller,
            self._connection_id,
            request,
            accepted_at=self._opened_at,
        )
        if attached is None:
            self._lose_session(CloseCode.REPLACED)
            return
        session = Session(
            replica.store.sessions,
            self._caller,
            self._identity,
            attached,
            on_lost=self._lose_session,
        )
        telling = [come_to(replica.store, self._caller, each) for each in attached.named]
        if attached.replaced is not None:
            is_revoked = attached.failure == "token_reused"
            telling.append(replica.tell_replaced(attached.replaced, is_revoked=is_revoked))
        resumed = await read_conversations(self._subscriptions, session, meanwhile=telling)
        self._begin_session(session, ids)
        self._protocol.charge_bytes(sum([one.cut.snapshot_bytes for one in resumed]))
        await self._reply(session_ready(attached, resumed, replica.settings), request.id)
        warning = gap_warning(attached, replica.settings)
        if warning is not None:
            self._sender.push(warning)
        self._subscriptions.begin(resumed, announce=not is_implied)
        if not attached.was_online:
            self._tell_online(session.cursors)

    def _begin_session(self, session: Session, ids: IdMaker) -> None:
        replica = self._replica
        self.session = session
        self._actions = SocketActions(
            self._subscriptions,
            session,
            replica.verifier,
            replica.clock,
            charge=self._protocol.charge,
            charge_bytes=self._protocol.charge_bytes,
            push=self._sender.push,
            renewed=partial(self._renewed, session),
            present=self._tell_online,
        )
        self._context = Context(
            identity=lambda: session.identity,
            session=session,
            connection=self._actions,
            connection_id=self._connection_id,
            store=replica.store,
            settings=replica.settings,
            ids=ids,
            agents=replica.agents,
            clock=replica.clock,
        )

    def _tell_online(self, conversations: Iterable[str]) -> None:
        self._replica.presence.tell(
            self._caller, self._connection_id, conversations, is_online=True
        )

    def _renewed(self, session: Session, identity: Identity) -> None:
        """The credential was replaced by another of the same subject."""
        session.identity = identity
        self._protocol.renewed(identity.expires_at)

    def _lose_session(self, code: CloseCode) -> None:
        window_ms = RETURN_WINDOW_MS if code is CloseCode.UNAVAILABLE else 0
        self._close(Close(code, window_ms=window_ms))
