"""Turns: what may overtake, what keeps its order, and who is answered when.

The requests' work and their replies are only noted down here;
tests/promises/sessions/test_dead_shard.py sees the whole of it at clients.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.connections.turns import (
    DECODED,
    MAX_HELD_BYTES,
    MAX_PAGES,
    MAX_TURNS,
    Turns,
    Watch,
    held_bytes_of,
    lane_of,
)
from gateway.protocol import messages
from gateway.protocol.messages import (
    GetConversation,
    GetConversationHistory,
    LeaveConversation,
    Request,
    SendMessage,
)
from gateway.protocol.state_machine import ConnectImplied, Perform, Refuse
from gateway.requests.time_limit import TimeLimit
from gateway.store.redis.patience import waiting_since
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.protocol.state_machine import Effect


def is_request(kind: object) -> bool:
    """Whether something is a type of requests."""
    return isinstance(kind, type) and issubclass(kind, Request) and kind is not Request


def get(conversation: str, number: int = 0) -> Perform:
    """Return a request to a conversation."""
    return Perform(GetConversation(id=number, conversation_id=conversation))


def leave(conversation: str) -> Perform:
    """Return a request that changes the session."""
    return Perform(LeaveConversation(conversation_id=conversation))


class Waiting(list["Effect"]):
    """What is still to be performed; each is a message of so many bytes."""

    message_bytes = 100

    def peek(self) -> Effect | None:
        """Return the first."""
        return self[0] if self else None

    def take(self) -> Effect | None:
        """Take the first."""
        return self.pop(0) if self else None


class Hands:
    """Notes down what is begun, done and answered; each conversation's work ends when it is let."""

    def __init__(self) -> None:
        self.time_limit = TimeLimit(60)
        self.notes: list[str] = []
        self.since: list[float | None] = []
        self.may_end: dict[str, asyncio.Event] = {}
        self.is_next: Callable[[], Awaitable[None]] | None = None
        self.has_room = True

    def take(self, first: Request, inbox: object) -> list[Request]:
        """Nothing is performed in one step."""
        del inbox
        return [first]

    def beside(self, is_next: Callable[[], Awaitable[None]]) -> Hands:
        """Return others with the same notes."""
        other = Hands()
        other.notes, other.may_end, other.since = self.notes, self.may_end, self.since
        other.is_next = is_next
        return other

    def let(self, *conversations: str) -> None:
        """Let work end."""
        for conversation in conversations:
            self.may_end.setdefault(conversation, asyncio.Event()).set()

    async def perform(self, requests: list[Request]) -> None:
        """Do it."""
        (request,) = requests
        assert isinstance(request, GetConversation | GetConversationHistory)
        name = f"{request.conversation_id}{request.id}"
        self.since.append(waiting_since.get())
        self.notes.append(f"begin {name}")
        await self.may_end.setdefault(request.conversation_id, asyncio.Event()).wait()
        self.notes.append(f"done {name}")
        assert self.is_next is not None
        await self.is_next()
        self.notes.append(f"answer {name}")

    def told(self, what: str) -> list[str]:
        """Return whom something was noted of, in order."""
        return [name for kind, name in map(str.split, self.notes) if kind == what]


class Play:
    """A first request that takes long, of the conversation `a`, and what follows it."""

    def __init__(self, *waiting: Effect) -> None:
        self.waiting, self.hands = Waiting(waiting), Hands()
        self.first_may_end = asyncio.Event()
        self.first = asyncio.create_task(self.first_may_end.wait())
        self.turns = Turns(self.waiting, self.hands, self.first, "a")
        self.running = asyncio.create_task(self.turns.run())

    async def noted(self, what: str, *names: str) -> None:
        """Wait until something was noted of some, in this order."""
        await eventually(lambda: self.hands.told(what) == [*names], what=f"{what} {names}")

    async def rests(self) -> None:
        """Let the loop do all it can."""
        for _ in range(20):
            await asyncio.sleep(0)


@asynccontextmanager
async def playing(*waiting: Effect) -> AsyncIterator[Play]:
    """Yield a play; nothing of it is left at work."""
    play = Play(*waiting)
    try:
        yield play
    finally:
        play.running.cancel()
        await asyncio.wait([play.running, play.first])


async def test_others_are_performed_meanwhile_and_answered_in_order() -> None:
    """However their work ends: the first one answers first."""
    async with playing(get("b"), get("c"), get("d")) as play:
        play.hands.let("d", "c")
        await play.noted("done", "c0", "d0")
        play.first_may_end.set()
        await play.first
        await play.rests()
        assert play.hands.told("answer") == []
        play.hands.let("b")
        await play.running
        assert play.hands.told("answer") == ["b0", "c0", "d0"]


async def test_requests_to_one_conversation_keep_their_order() -> None:
    """Those behind the first one wait until it is over; others do not wait for them."""
    async with playing(get("a", 1), get("b", 1), get("b", 2), get("a", 2), get("c", 1)) as play:
        play.hands.let("a", "c")
        await play.noted("done", "c1")
        assert play.hands.told("begin") == ["b1", "c1"]
        play.hands.let("b")
        await play.noted("done", "c1", "b1", "b2")
        play.first_may_end.set()
        await play.running
        assert play.hands.told("begin") == ["b1", "c1", "b2", "a1", "a2"]
        assert play.hands.told("answer") == ["a1", "b1", "b2", "a2", "c1"]


@pytest.mark.parametrize("barrier", [leave("b"), ConnectImplied(), Refuse(ValueError(), 1)])
async def test_what_touches_the_session_waits_for_all_and_all_for_it(barrier: Effect) -> None:
    """It is left to the worker that goes on, and so is what follows it."""
    async with playing(get("b"), barrier, get("c")) as play:
        play.hands.let("b", "c")
        await play.noted("done", "b0")
        await play.rests()
        assert len(play.waiting) == 2
        play.first_may_end.set()
        await play.running
        assert play.waiting == [barrier, get("c")]
        assert play.hands.told("answer") == ["b0"]


async def test_what_comes_later_is_performed_too() -> None:
    """As soon as it has come."""
    async with playing() as play:
        await play.rests()
        play.waiting.append(get("b"))
        play.turns.wake()
        await play.noted("begin", "b0")


async def test_no_more_are_taken_than_may_be_held_in_memory() -> None:
    """Large requests wait as they came: decoded, they are ten times that, unless one text."""
    async with playing(*[get(f"c{n}") for n in range(8)]) as play:
        play.waiting.message_bytes = MAX_HELD_BYTES // DECODED // 4 + 1
        await play.noted("begin", *[f"c{n}0" for n in range(4)])
        assert len(play.waiting) == 4
        play.hands.let(*[f"c{n}" for n in range(8)])
        play.first_may_end.set()
        await play.noted("answer", *[f"c{n}0" for n in range(4)])
    assert held_bytes_of(SendMessage(client_message_id="m", content="x" * 50), 100) == 50


async def test_none_is_taken_or_begins_while_the_client_does_not_read() -> None:
    """Those that were taken begin when all before them are answered: one answer waits, not 16."""
    async with playing(get("b", 1), get("b", 2), get("b", 3)) as play:
        await play.noted("begin", "b1")
        play.hands.has_room = False
        play.waiting.append(get("c"))
        play.turns.wake()
        play.hands.let("b", "c")
        await play.noted("done", "b1")
        await play.rests()
        assert play.hands.told("begin") == ["b1"]
        assert play.waiting == [get("c")]
        play.first_may_end.set()
        await play.running
        assert play.hands.told("answer") == ["b1", "b2", "b3"]
        assert play.waiting == [get("c")]


async def test_no_more_pages_are_read_than_may_be_held_in_memory() -> None:
    """One too many begins when those before it are sent; what needs no page is not held up."""
    asked = [f"c{n}" for n in range(MAX_PAGES + 2)]
    pages = [Perform(GetConversationHistory(conversation_id=one, id=0)) for one in asked]
    async with playing(*pages, get("z")) as play:
        first = [f"{one}0" for one in asked[:MAX_PAGES]]
        await play.noted("begin", *first, "z0")
        await play.rests()
        assert play.hands.told("begin") == [*first, "z0"]
        play.hands.let(*asked, "z")
        await play.noted("done", *first, "z0")
        await play.rests()
        assert play.hands.told("begin") == [*first, "z0"]  # they are read, and not sent yet
        play.first_may_end.set()
        await play.noted("answer", *[f"{one}0" for one in asked], "z0")


async def test_no_more_are_taken_than_there_are_turns() -> None:
    """The others stay where reading stops when there are many."""
    async with playing(*(get(f"c{n}-") for n in range(MAX_TURNS + 5))) as play:
        await eventually(lambda: len(play.hands.notes) == MAX_TURNS - 1, what="they have begun")
        await play.rests()
        assert len(play.waiting) == 6
        play.first_may_end.set()
        await eventually(lambda: len(play.waiting) == 5, what="one more is taken")


async def test_all_go_one_after_the_other_again_when_nothing_takes_long() -> None:
    """What has just begun is not overtaken."""
    async with playing(get("b")) as play:
        await play.noted("begin", "b0")
        play.first_may_end.set()
        await play.first
        play.hands.let("b")
        play.waiting.append(get("c"))
        await play.running
        assert play.waiting == [get("c")]


async def test_a_request_has_waited_since_it_was_taken() -> None:
    """Not since its conversation's turn came: its calls are no more patient than those before."""
    async with playing(get("b", 1), get("c", 1), get("b", 2)) as play:
        await play.noted("begin", "b1", "c1")
        before = asyncio.get_running_loop().time()
        play.hands.let("b")
        await play.noted("begin", "b1", "c1", "b2")
        assert play.hands.since == sorted(play.hands.since)
        assert play.hands.since[2] <= before


async def test_when_it_ends_all_end() -> None:
    """The one that was overtaken, those at work, and those that wait."""
    async with playing(get("b", 1), get("b", 2), get("c")) as play:
        await play.noted("begin", "b1", "c0")
        play.running.cancel()
        await asyncio.wait([play.running, play.first])
        assert play.first.cancelled()
        assert play.hands.told("done") == []


@pytest.mark.parametrize("seen", [True, False])
async def test_a_request_is_long_if_it_is_at_work_for_a_whole_watch(seen: bool) -> None:
    """Another one since, or none: it is watched on."""
    long: list[Effect] = []
    watch = Watch(long.append)
    watch.at_work = get("a")
    watch.something_waits()
    if not seen:
        watch.at_work = get("b")
    await eventually(lambda: long, what="something is long")
    assert long == [watch.at_work]
    assert not watch.is_on


async def test_a_watch_ends_when_nothing_is_at_work() -> None:
    """An idle connection has no timer."""
    watch = Watch(lambda _effect: None)
    watch.something_waits()
    await eventually(lambda: not watch.is_on, what="it has looked")


OF_ALL = {
    *(messages.Ack, messages.Connect, messages.CreateConversation, messages.JoinConversation),
    *(messages.LeaveConversation, messages.ListConversations, messages.RefreshToken),
}


BUILT_IN = [kind for kind in vars(messages).values() if is_request(kind)]


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.__name__)
def test_every_request_keeps_its_order_with_its_conversation_or_with_all(
    kind: type[Request],
) -> None:
    """A new type has its place here too."""
    if kind is not messages.Ping:
        assert lane_of_kind(kind) == (None if kind in OF_ALL else "c_1")


def lane_of_kind(kind: type[Request]) -> str | None:
    """Return the lane of a request of a type, to the conversation `c_1`."""
    given = {"conversation_id": "c_1"}
    fields = {name: given.get(name) for name in kind.__struct_fields__}
    return lane_of(Perform(kind(**fields)))


def test_a_message_that_makes_its_conversation_keeps_its_order_with_all() -> None:
    """Nobody knows yet which one it is."""
    sent = messages.SendMessage(client_message_id="1", content="x")
    assert lane_of(Perform(sent)) is None
    assert lane_of(Perform(messages.Ping())) == ""
