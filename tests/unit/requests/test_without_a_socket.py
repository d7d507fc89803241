"""Requests that no socket brought: handlers, the store and a real Redis, and no connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway import Request, handler
from gateway.agents import AgentRegistry
from gateway.clock import Clock
from gateway.codes import ErrorCode
from gateway.identity.tokens import Identity
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import (
    Ack,
    AddParticipant,
    Conversation,
    ConversationHistory,
    CreateConversation,
    ErrorReply,
    GetConversation,
    GetConversationHistory,
    JoinConversation,
    LeaveConversation,
    MessageAccepted,
    Ping,
    Position,
    RefreshToken,
    SendMessage,
)
from gateway.requests.answering import answer
from gateway.requests.no_socket import context_without_socket
from gateway.requests.registry import HandlerRegistry
from gateway.requests.time_limit import TimerLimit
from gateway.settings import Settings
from tests.support.eventually import eventually
from tests.support.stores import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.protocol.messages import Reply
    from gateway.requests.context import Context
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

LIMIT_S = 30.0


class Stumble(Request, tag="stumble", frozen=True, kw_only=True):
    """An operator's own message, whose handler does not answer."""

    for_ever: bool = False


@handler(Stumble)
async def stumble(context: Context, message: Stumble) -> None:
    """Fail, or wait for what never comes."""
    del context
    if message.for_ever:
        await asyncio.Event().wait()
    raise ZeroDivisionError("a bug")


class Caller:
    """Somebody whose requests are answered without a socket."""

    def __init__(self, store: Store, context: Context) -> None:
        self.registry = HandlerRegistry.load([__name__])
        self.store = store
        self.context = context

    async def asks(self, *requests: Request, limit_s: float = LIMIT_S) -> list[Reply | None]:
        """Return the replies."""
        limit = TimerLimit(limit_s)
        return list(await answer(self.registry, self.context, requests, limit=limit))

    async def ask(self, request: Request, *, limit_s: float = LIMIT_S) -> Reply | None:
        """Return the reply."""
        (reply,) = await self.asks(request, limit_s=limit_s)
        return reply

    async def fails(self, request: Request, *, limit_s: float = LIMIT_S) -> ErrorReply:
        """Return the error."""
        reply = await self.ask(request, limit_s=limit_s)
        assert isinstance(reply, ErrorReply), reply
        return reply


async def comes(store: Store, tenant: str, subject: str = "alice") -> Caller:
    """Return one, with a credential that was accepted."""
    settings = Settings()
    context = context_without_socket(
        Identity(subject, tenant, frozenset(), 2e9),
        store=store,
        settings=settings,
        ids=await store.ids(),
        agents=AgentRegistry.load(settings),
        clock=Clock(),
        charge=lambda _cost: None,
    )
    return Caller(store, context)


@pytest.fixture
async def store(redis_server: RedisNode) -> AsyncIterator[Store]:
    """The store, on the shared Redis."""
    async with opened(redis_server.url) as store:
        yield store


@pytest.fixture
async def alice(store: Store, tenant: str) -> Caller:
    """Somebody."""
    return await comes(store, tenant)


async def created(caller: Caller) -> str:
    """Create a conversation; return its id."""
    reply = await caller.ask(CreateConversation())
    assert isinstance(reply, Conversation)
    return reply.conversation_id


async def said(caller: Caller, conversation: str) -> list[object]:
    """Return what was said in a conversation."""
    reply = await caller.ask(GetConversationHistory(conversation_id=conversation))
    assert isinstance(reply, ConversationHistory)
    return [text.value()["content"] for text in reply.messages if isinstance(text, JsonText)]


async def test_a_message_is_sent_and_read_without_a_socket(alice: Caller) -> None:
    """The replies are those of a socket, each with the id of its request; a repeat is accepted."""
    conversation = await created(alice)
    message = SendMessage(
        id="one", conversation_id=conversation, client_message_id="1", content="hello"
    )
    first, again = await alice.ask(message), await alice.ask(message)
    assert isinstance(first, MessageAccepted)
    assert isinstance(again, MessageAccepted)
    assert first.reply_to == "one"
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.message_id == again.message_id
    assert await said(alice, conversation) == ["hello"]


async def test_requests_performed_together_are_answered_one_by_one(alice: Caller) -> None:
    """In order; one that is refused does not harm the others."""
    conversation = await created(alice)
    texts = ["one", "x" * (Settings().max_content_bytes + 1), "three"]
    requests = [
        SendMessage(id=n, conversation_id=conversation, client_message_id=str(n), content=text)
        for n, text in enumerate(texts)
    ]
    replies = await alice.asks(*requests)
    assert [reply and reply.reply_to for reply in replies] == [0, 1, 2]
    assert isinstance(replies[1], ErrorReply)
    assert replies[1].code == ErrorCode.TOO_LARGE
    assert await said(alice, conversation) == ["one", "three"]


async def test_a_message_sent_without_a_socket_is_in_the_log_for_all(
    alice: Caller, store: Store, tenant: str
) -> None:
    """Another participant's reader finds it after the position that a join noted."""
    conversation = await created(alice)
    bob = await comes(store, tenant, "bob")
    assert await alice.ask(AddParticipant(conversation_id=conversation, subject="bob"))
    joined = await bob.ask(
        JoinConversation(conversation_id=conversation, cursor=Position("of_before", 1))
    )
    assert (joined.mode, joined.replayed) == ("fresh", 0)
    message = SendMessage(conversation_id=conversation, client_message_id="1", content="hello")
    await alice.ask(message)
    at = Position(joined.epoch, joined.offset)
    cut = await store.log.read(bob.context.caller, conversation, at)
    assert [event.offset for event in cut.events] == [joined.offset + 1]
    assert b"hello" in cut.events[0].event.data


async def test_whoever_leaves_without_a_socket_takes_no_part(
    alice: Caller, store: Store, tenant: str
) -> None:
    """The store's part is done, though nothing was attached."""
    conversation = await created(alice)
    bob = await comes(store, tenant, "bob")
    await alice.ask(AddParticipant(conversation_id=conversation, subject="bob"))
    await bob.ask(LeaveConversation(conversation_id=conversation))
    error = await bob.fails(GetConversation(id=7, conversation_id=conversation))
    assert (error.code, error.reply_to) == (ErrorCode.NOT_FOUND, 7)


async def test_a_handlers_bug_is_internal_and_logged_only(
    alice: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own request fails; the reply says nothing of the cause, the log does."""
    error = await alice.fails(Stumble(id="s"))
    assert (error.code, error.reply_to) == (ErrorCode.INTERNAL, "s")
    assert "bug" not in error.message
    logged = capsys.readouterr().out
    assert "request_failed" in logged
    assert "ZeroDivisionError" in logged


async def test_a_request_that_takes_too_long_times_out(alice: Caller) -> None:
    """And the task that waited for it goes on."""
    error = await alice.fails(Stumble(for_ever=True), limit_s=0.0)
    assert (error.code, error.retryable) == (ErrorCode.TIMEOUT, True)
    assert asyncio.current_task().cancelling() == 0


async def test_a_caller_that_is_cancelled_is_cancelled(alice: Caller) -> None:
    """No reply is made up for one who has gone."""
    task = asyncio.create_task(alice.ask(Stumble(for_ever=True)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_type_without_a_handler_is_unknown(alice: Caller) -> None:
    """As on a socket."""
    alice.registry = HandlerRegistry()
    assert (await alice.fails(Ping(id=1))).code == ErrorCode.UNKNOWN_TYPE


@pytest.mark.parametrize(
    "request_", [Ack(cursors={"c": Position("e", 1)}), RefreshToken(token="a.b.c")]
)
async def test_what_only_a_socket_can_do_is_refused(alice: Caller, request_: Request) -> None:
    """There is no cursor to move, and no credential to replace."""
    error = await alice.fails(request_)
    assert (error.code, error.retryable) == (ErrorCode.BAD_REQUEST, False)
    assert "without a" in error.message


async def test_storage_that_is_away_is_unavailable(own_redis: OwnRedis, tenant: str) -> None:
    """Nothing was accepted, and the same request succeeds once Redis is back."""
    node = await own_redis()
    async with opened(node.url, redis_timeout_s=1.0) as store:
        alice = await comes(store, tenant)
        conversation = await created(alice)
        message = SendMessage(
            id="m", conversation_id=conversation, client_message_id="1", content="hello"
        )
        node.kill()
        await alice.fails(message)  # in doubt at the most: it was on its way
        error = await alice.fails(message)
        assert (error.code, error.retryable) == (ErrorCode.UNAVAILABLE, True)
        assert error.reply_to == "m"
        await node.restart()
        await eventually(lambda: _is_served(alice), what="Redis is back")


async def _is_served(caller: Caller) -> bool:
    return isinstance(await caller.ask(CreateConversation()), Conversation)
