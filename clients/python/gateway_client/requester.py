"""What a client and its conversations ask the server with: messages, requests, their replies."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET, UnsetType

from gateway_client.errors import BadFrame, ReplyTimeout
from gateway_client.lifecycle import Lifecycle
from gateway_client.link.clock import now
from gateway_client.protocol import replies, requests

if TYPE_CHECKING:
    from gateway_client.protocol.messages import Content, Cursor
    from gateway_client.session.pending import Done

R = TypeVar("R")


class Requester(Lifecycle):
    """A client that can ask; the arguments are those of `Lifecycle`."""

    async def send(
        self,
        content: Content,
        *,
        conversation_id: str | None = None,
        agent: str | UnsetType | None = UNSET,
        if_running: str = "",
        client_message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> replies.MessageAccepted:
        """Like `Conversation.send`; without a conversation, start a new one with this message."""
        self.ensure_open()
        message = requests.SendMessage(
            client_message_id=client_message_id or uuid.uuid4().hex,
            content=content,
            conversation_id=conversation_id,
            agent=agent,
            if_running=if_running,
        )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        message_id = self._session.exchange.send(message, done=_settle(future))
        try:
            async with asyncio.timeout(timeout_s):
                return await self._reply(future, message_id, replies.MessageAccepted)
        except TimeoutError:
            raise ReplyTimeout(message.type, timeout_s=timeout_s or 0.0) from None

    async def request(
        self, name: str, fields: dict[str, Any] | None = None, *, is_repeatable: bool = False
    ) -> dict[str, Any]:
        """Send a custom request and return the reply as it was received.

        Args:
            name: The `type` of the request.
            fields: Its other fields.
            is_repeatable: Whether it may be sent again after a drop. If not, `RequestInterrupted`
                is raised when the link drops before the reply.
        """
        self.ensure_open()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request_id = self._session.exchange.ask_custom(
            name, fields or {}, done=_settle(future), now=now(), is_repeatable=is_repeatable
        )
        reply: dict[str, Any] = await self._reply(future, request_id, dict)
        return reply

    async def ping(self) -> float:
        """Measure how long the server takes to answer, in seconds."""
        began = now()
        await self.ask(requests.Ping(), replies.Pong)
        return now() - began

    def cursor(self, conversation_id: str) -> Cursor | None:
        """The last event this client has of a conversation; None if it is not attached."""
        return self._session.reader.cursor(conversation_id)

    async def ask(self, request: requests.Request, reply: type[R]) -> R:
        """Send a request and wait for its reply; if the link is down, wait for the link first.

        Raises:
            RequestFailed, ReplyTimeout, FrameTooLarge, ClientClosed: See these classes.
            RequestInterrupted: The link dropped, and the request must not be repeated.
        """
        self.ensure_open()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request_id = self._session.exchange.ask(request, done=_settle(future), now=now())
        return await self._reply(future, request_id, reply)

    def tell(self, request: requests.Request) -> None:
        """Send a request that has no reply; discarded while the link is down."""
        if self._session.is_live:
            self._session.exchange.tell(request)
            self._connector.wake()

    async def _reply(self, future: asyncio.Future[Any], request_id: int, reply: type[R]) -> R:
        self._connector.wake()
        try:
            answer = await future
        finally:
            self._session.exchange.withdraw(request_id)
        if not isinstance(answer, reply):
            raise BadFrame(f"{type(answer).__name__} instead of {reply.__name__}")
        return answer


def _settle(future: asyncio.Future[Any]) -> Done:
    """Return a callback that sets the future, unless nobody waits for it any more."""

    def done(outcome: Any) -> None:
        if future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    return done
