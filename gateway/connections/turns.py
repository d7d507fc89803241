"""Requests of one connection that are at work at the same time, and answered in their turn.

Mostly there are none: requests are performed one after the other, by the connection's task. Where
one has been at work for long, its server away or its handler slow, it is overtaken: what follows it
to other conversations is performed beside it. Replies still leave in the order of the requests.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from gateway.protocol import messages
from gateway.protocol.state_machine import Perform
from gateway.store.redis.patience import waiting_since

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.connections.dispatcher import Dispatcher
    from gateway.connections.inbox import Inbox
    from gateway.protocol.messages import Request
    from gateway.protocol.state_machine import Effect

LONG_S = (
    0.05  # some fifty times what a request takes; less, and a busy machine overtakes for nothing
)
MAX_TURNS = 16  # at work, or waiting for their conversation or their turn to be answered
MAX_HELD_BYTES = 1_048_576  # of their requests in memory, about; one more may exceed it
MAX_PAGES = 4  # read and not sent yet; each is answered with up to a frame of 256 KiB
DECODED = 10  # times its bytes a decoded message takes, about, unless it is one text

# What touches one conversation, and of the session no more than being attached to it. All else has
# its place between all others: it waits for those before it, and those behind it for it.
_OF_ONE_CONVERSATION = frozenset(
    {
        messages.AddParticipant,
        messages.CancelRun,
        messages.CreateInvite,
        messages.DeleteMessage,
        messages.EditMessage,
        messages.GetAgentContext,
        messages.GetConversation,
        messages.GetConversationHistory,
        messages.ListContextVersions,
        messages.ListInvites,
        messages.RemoveParticipant,
        messages.RespondToInterrupt,
        messages.RevokeInvite,
        messages.RollbackAgentContext,
        messages.SearchMessages,
        messages.SendMessage,
        messages.Typing,
        messages.UpdateAgentContext,
    }
)
_ANSWERED_WITH_A_PAGE = (
    messages.GetAgentContext,
    messages.GetConversationHistory,
    messages.SearchMessages,
)
_NONE = ""  # the lane of what touches no conversation


def lane_of(effect: Effect | None) -> str | None:
    """The conversation whose requests keep their order with this one; None if all must."""
    if not isinstance(effect, Perform):
        return None
    if type(effect.request) in _OF_ONE_CONVERSATION:
        lane: str | None = getattr(effect.request, "conversation_id", None)
        return lane  # None of a message that makes its conversation
    return _NONE if isinstance(effect.request, messages.Ping) else None


def held_bytes_of(request: Request, message_bytes: int) -> int:
    """What a request takes in memory, about, that came in so many bytes, or with one that did."""
    content = getattr(request, "content", None)
    return len(content) if isinstance(content, str) else message_bytes * DECODED


class Watch:
    """Sees that a connection's request has been at work for long, while others wait.

    One timer in `LONG_S` does, however many requests are performed meanwhile: what is at work at
    its beginning and at its end is long.

    Attributes:
        at_work: what has been begun; None if there is nothing.
        is_on: whether the timer runs.
        turns: of those that overtake, if any do.
    """

    __slots__ = ("_on_long", "_seen", "at_work", "is_on", "turns")

    def __init__(self, on_long: Callable[[Effect], None]) -> None:
        self.at_work: Effect | None = None
        self.is_on = False
        self.turns: Turns | None = None
        self._seen: Effect | None = None
        self._on_long = on_long

    def begin(self, effect: Effect, *, others_wait: bool) -> None:
        """Something is at work now."""
        self.at_work = effect
        if others_wait and not self.is_on:
            self.something_waits()

    def something_waits(self) -> None:
        """Begin to watch; called when it is not on."""
        if self.turns is not None:
            self.turns.wake()
            return
        self.is_on = True
        self._seen = self.at_work
        asyncio.get_running_loop().call_later(LONG_S, self._look)

    def check_time_limits(self) -> None:
        """Let each that overtakes end, if its time is over."""
        if self.turns is not None:
            self.turns.check_time_limits()

    def _look(self) -> None:
        self.is_on = False
        seen, self._seen = self._seen, None
        if self.at_work is None or self.turns is not None:
            return
        if self.at_work is seen:
            self._on_long(seen)
        else:
            self.something_waits()


class Turn:
    """Requests performed in one step: when it is their lane's turn, and answered when it is theirs.

    Args:
        lane: what they must keep their order in.
        since: when they were taken, or began; now if None. Monotonic seconds.
        before: whom they are answered after.
        in_lane: whose work they begin after.
        held_bytes: what the requests take in memory.
        has_page: whether it is answered with a page, which is held until it is sent.
    """

    __slots__ = (
        "_before",
        "_in_lane",
        "dispatcher",
        "has_begun",
        "has_page",
        "held_bytes",
        "is_answered",
        "is_done",
        "lane",
        "since",
    )

    def __init__(
        self,
        lane: str,
        *,
        since: float | None = None,
        before: Turn | None = None,
        in_lane: Turn | None = None,
        held_bytes: int = 0,
        has_page: bool = False,
    ) -> None:
        self.lane = lane
        self.held_bytes = held_bytes
        self.has_page = has_page
        self.has_begun = False
        self.since = monotonic() if since is None else since
        self.dispatcher: Dispatcher | None = None
        self._before = before
        self._in_lane = in_lane
        self.is_done = asyncio.Event()
        self.is_answered = asyncio.Event()

    async def begins(self) -> None:
        """Wait until the work before it in its lane is done."""
        if self._in_lane is not None:
            await self._in_lane.is_done.wait()
            self._in_lane = None

    async def is_next(self) -> None:
        """The work is done: wait until all before it are answered."""
        self.is_done.set()
        await self.all_before_are_answered()

    async def all_before_are_answered(self) -> None:
        """Wait until nothing of what was asked before is still to be sent."""
        if self._before is not None:
            await self._before.is_answered.wait()
            self._before = None

    def end(self) -> None:
        """It is answered, or is not going to be."""
        self.is_done.set()
        self.is_answered.set()
        self._before = self._in_lane = self.dispatcher = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is performed in one turn."""

    turn: Turn
    requests: Sequence[Request]


class Turns:
    """The turns of one connection, while there are any.

    Args:
        inbox: what is still to be performed.
        dispatcher: of the connection.
        overtaken: the task whose request was at work for long; it ends with that request.
        lane: of that request.
    """

    def __init__(
        self, inbox: Inbox, dispatcher: Dispatcher, overtaken: asyncio.Task[None], lane: str
    ) -> None:
        self._inbox = inbox
        self._dispatcher = dispatcher
        self._overtaken = overtaken
        self._changed = asyncio.Event()
        first = Turn(lane, since=monotonic() - LONG_S)
        self._turns = [first]  # in order, those that are not answered
        overtaken.add_done_callback(lambda _task: self._end(first))

    async def run(self) -> None:
        """Perform what may be performed now, until nothing is at work.

        What must wait for all, and all behind it, is left in the inbox. If cancelled, so are all.
        """
        try:
            async with asyncio.TaskGroup() as group:
                while self._turns:
                    self._changed.clear()
                    while (step := self._next()) is not None:
                        group.create_task(self._perform(step), name="turn")
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._young_s()):
                            await self._changed.wait()
        except BaseException:
            self._overtaken.cancel()
            raise

    def wake(self) -> None:
        """Something has come."""
        self._changed.set()

    def check_time_limits(self) -> None:
        """Let each end whose time is over."""
        for turn in self._turns:
            if turn.dispatcher is not None:
                turn.dispatcher.time_limit.check()

    def _young_s(self) -> float | None:
        """How long it takes until the oldest has been at work for long; None if it has."""
        left_s = self._turns[0].since + LONG_S - monotonic()
        return left_s if left_s > 0 else None

    def _next(self) -> Step | None:
        """Take what is to be performed now; None if nothing is.

        Once nothing has been at work for long, all go one after the other again.
        """
        if not self._turns or self._is_full() or self._young_s() is not None:
            return None
        if not self._dispatcher.has_room:
            return None
        effect = self._inbox.peek()
        lane = lane_of(effect)
        if lane is None or not isinstance(effect, Perform):
            return None
        self._inbox.take()
        message_bytes = self._inbox.message_bytes
        requests = self._dispatcher.take(effect.request, self._inbox)
        held_bytes = sum(held_bytes_of(request, message_bytes) for request in requests)
        has_page = isinstance(effect.request, _ANSWERED_WITH_A_PAGE)
        return Step(self._turn(lane, held_bytes, has_page=has_page), requests)

    def _is_full(self) -> bool:
        held_bytes = sum(turn.held_bytes for turn in self._turns)
        return len(self._turns) >= MAX_TURNS or held_bytes >= MAX_HELD_BYTES

    def _is_page_too_many(self, turn: Turn) -> bool:
        """Whether as many pages as may be held are being read, or wait to be sent."""
        pages = [other for other in self._turns if other.has_page and other.has_begun]
        return turn.has_page and len(pages) >= MAX_PAGES

    def _turn(self, lane: str, held_bytes: int, *, has_page: bool) -> Turn:
        in_lane = next((turn for turn in reversed(self._turns) if turn.lane == lane), None)
        before = self._turns[-1]
        turn = Turn(lane, before=before, in_lane=in_lane, held_bytes=held_bytes, has_page=has_page)
        self._turns.append(turn)
        return turn

    async def _perform(self, step: Step) -> None:
        turn = step.turn
        waiting_since.set(turn.since)
        try:
            await turn.begins()
            if not self._dispatcher.has_room or self._is_page_too_many(turn):
                await turn.all_before_are_answered()  # what it answers would wait beside theirs
            turn.has_begun = True
            dispatcher = turn.dispatcher = self._dispatcher.beside(turn.is_next)
            await dispatcher.perform(step.requests)
        finally:
            self._end(turn)

    def _end(self, turn: Turn) -> None:
        turn.end()
        self._turns.remove(turn)
        self._changed.set()
