"""One conversation's log, its pub/sub and one client, as a model in which any interleaving happens.

The parts under test are real: `Subscriptions`, its readers, `Topic`, `Tail`, `Outbox`. What stands
in for Redis keeps a list of events and answers reads when it is told to.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.codes import CloseCode
from gateway.errors import NotFound
from gateway.fanout.outbox import Outbox
from gateway.fanout.subscriptions import Subscriptions
from gateway.fanout.topic import Topic
from gateway.identity.caller import Caller
from gateway.protocol.batches import Batch
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position
from gateway.protocol.publications import Publication
from gateway.store.contexts import AgentState
from gateway.store.log import Cut, Snapshot

if TYPE_CHECKING:
    from collections.abc import Coroutine

NAME = "c_1"
BIG = 1_000_000_000
ALICE = Caller("t", "alice")


async def settle() -> None:
    """Let every task run until it waits for something that only the test can bring."""
    for _ in range(12):
        await asyncio.sleep(0)


class ModelLog:
    """The log in Redis: events, an epoch, who takes part; reads run and are answered on demand."""

    def __init__(self) -> None:
        self.epoch = "e0"
        self.reign = 0
        self.ended: dict[str, int] = {}  # epochs, with the offset at which each ended
        self.replaced = Position("", 0)  # where the last master stands that was replaced
        self.written = 0  # each event has a number of its own, in whichever history it is
        self.events: list[Publication] = []
        self.kept_from = 1  # the offset of the oldest event that was not trimmed
        self.is_member = True
        self.left_at: dict[str, int] = {}  # by epoch, the last event that a removed member may see
        self.channel: list[Publication] = []  # live copies under way
        self.asked: list[tuple[Position | None, Position | None, asyncio.Future[Cut]]] = []
        self.answers: list[tuple[asyncio.Future[Cut], Cut | NotFound]] = []
        self.page = 3
        self.reads = 0

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.epoch, len(self.events))

    def append(self, event: dict[str, Any]) -> None:
        """Append an event and publish it; the first of a reign begins an epoch."""
        if self.epoch != f"e{self.reign}":
            self.ended[self.epoch] = len(self.events)
            self.epoch = f"e{self.reign}"
        new = self._new(self.epoch, len(self.events) + 1, event)
        self.events.append(new)
        self.channel.append(new)

    def _new(self, epoch: str, offset: int, event: dict[str, Any]) -> Publication:
        self.written += 1
        return Publication(NAME, epoch, offset, JsonText.of({**event, "n": self.written}))

    def remove_member(self) -> None:
        """Make the reader's subject no participant."""
        self.append({"type": "PARTICIPANT_LEFT", "subject": ALICE.subject})
        self.is_member = False
        self._leave(self.position)

    def _leave(self, position: Position) -> None:
        known = self.left_at.get(position.epoch, 0)
        self.left_at[position.epoch] = max(known, position.offset)

    def fail_over(self, *, lost: int) -> None:
        """Let a replica become master that lacks the last few events, and what came with them."""
        self.replaced = self.position
        del self.events[max(0, len(self.events) - lost) :]
        self.ended = {name: end for name, end in self.ended.items() if end < len(self.events)}
        self.epoch = self.events[-1].epoch if self.events else "e0"
        kinds = [one.event.value()["type"] for one in self.events]
        comings = [kind for kind in kinds if kind.startswith("PARTICIPANT_")]
        self.is_member = comings[-1:] != ["PARTICIPANT_LEFT"]
        if not self.is_member:  # it may have been one in what was lost, and have read that
            self._leave(self.replaced)
        self.reign += 1

    def write_late(self) -> None:
        """Let the master that was replaced write and publish, before it learns that it was."""
        if self.replaced.epoch:
            epoch, offset = self.replaced.epoch, self.replaced.offset + 1
            self.replaced = Position(epoch, offset)
            self.channel.append(self._new(epoch, offset, {"type": "LATE"}))

    async def read(
        self, caller: Caller, name: str, cursor: Position | None, *, known: Position | None = None
    ) -> Cut:
        """Answer when the test says so."""
        assert (caller, name) == (ALICE, NAME)
        answer: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
        self.asked.append((cursor, known, answer))
        self.reads += 1
        return await answer

    def run_read(self) -> None:
        """Let Redis run the oldest read; its answer is under way."""
        if self.asked:
            cursor, known, answer = self.asked.pop(0)
            cut = self._cut(cursor, known) if self.is_member else NotFound()
            self.answers.append((answer, cut))

    def answer_read(self) -> None:
        """Let the oldest answer arrive."""
        if self.answers:
            future, answer = self.answers.pop(0)
            if future.done():
                return
            if isinstance(answer, Cut):
                future.set_result(answer)
            else:
                future.set_exception(answer)

    def _cut(self, cursor: Position | None, known: Position | None) -> Cut:
        here = self.position
        if cursor is None:
            return Cut("fresh", here)
        good_to = (self.ended | {here.epoch: here.offset}).get(cursor.epoch, -1)
        is_in_memory = known is not None and cursor.epoch == known.epoch == here.epoch
        if is_in_memory and known.offset <= cursor.offset <= here.offset:
            return Cut("tail", here)
        is_reached = self.kept_from <= cursor.offset + 1 or cursor.offset == here.offset
        if cursor.offset <= good_to and is_reached:
            return Cut("tail", here, self.events[cursor.offset :][: self.page])
        empty = JsonText(b"{}")
        context = AgentState(0, empty, empty, JsonText(b"[]"), here)
        told = [JsonText.of({"offset": one.offset, **one.event.value()}) for one in self.events]
        return Cut("snapshot", here, snapshot=Snapshot(told, has_more=False, context=context))


class OneTopic:
    """What `Subscriptions` needs of a hub: the one topic there is."""

    def __init__(self) -> None:
        self.topic = Topic("t", NAME)
        self.unchecked: set[Topic] = set()

    def hold(self, tenant: str, name: str) -> Topic:
        """Hold it."""
        assert (tenant, name) == ("t", NAME)
        self.topic.holds += 1
        return self.topic

    async def wait_until_heard(self, topic: Topic) -> None:
        """Hear it."""
        await asyncio.sleep(0)
        topic.is_heard = True

    def check_soon(self, topic: Topic) -> None:
        """Remember that it was read before it was heard."""
        self.unchecked.add(topic)

    def release(self, topic: Topic) -> None:
        """Let go of it."""
        topic.holds -= 1


class Reading:
    """One connection that reads the conversation, and the client at its end."""

    def __init__(self, group: asyncio.TaskGroup, *, outbox_bytes: int) -> None:
        self.log = ModelLog()
        self.hub = OneTopic()
        self.is_slow = False
        self.outbox = Outbox(outbox_bytes, on_full=self._be_slow, on_filled=_nothing)
        self.group = group
        self.subscriptions = Subscriptions(
            self.hub,
            self.log,
            self.outbox,
            ENCODERS["json"],
            caller=ALICE,
            connection_id="k_1",
            max_conversations=10,
            spawn=self._spawn,
            fail=self._be_slow,
        )
        self.joining: asyncio.Task[None] | None = None
        self.compared: list[tuple[Position, Position | None]] = []
        self.position: Position | None = None  # the client's
        self.is_live = False
        self.joins = 0
        self.lives = 0
        self.heard: list[dict[str, Any]] = []  # events, since the last join or snapshot
        self.has: dict[int, int] = {}  # the events the client has, by offset: their numbers
        self.snapshots = 0

    @property
    def is_joining(self) -> bool:
        """Whether a join has not been answered yet."""
        return self.joining is not None and not self.joining.done()

    async def join(self, *, with_cursor: bool) -> None:
        """Ask to join, from where the client stands."""
        if not self.is_joining:
            cursor = self.position if with_cursor else None
            self.joining = self.group.create_task(self._join(cursor), name="join")

    async def hear(self, count: int) -> None:
        """Let live copies arrive."""
        arrived, self.log.channel = self.log.channel[:count], self.log.channel[count:]
        for item in arrived:
            self.hub.topic.hear([item])

    def compare(self) -> None:
        """Let the topic learn where the log stood when it was last asked, and ask again."""
        topic = self.hub.topic
        for position, asked_at in self.compared:
            topic.compare(position, asked_at=asked_at)
        self.compared = [(self.log.position, topic.furthest)]

    async def drain(self) -> None:
        """Let the client take what waits."""
        if not self.outbox.waiting_bytes:
            return
        for item in self.outbox.take(BIG):
            payloads = item.payloads(ENCODERS["json"]) if isinstance(item, Batch) else [item]
            for payload in payloads:
                self._take(msgspec.json.decode(payload))

    async def quiesce(self) -> None:
        """Let everything under way arrive, until nothing moves any more."""
        idle = 0
        for _ in range(200):
            is_busy = self.log.asked or self.log.answers or self.log.channel
            idle = 0 if is_busy or self.outbox.waiting_bytes or self.is_joining else idle + 1
            if idle > 1:
                break
            self.log.run_read()
            self.log.answer_read()
            await self.hear(100)
            await self.drain()
            await settle()

    def leave(self) -> None:
        """Stop reading."""
        self.subscriptions.drop(NAME)

    async def _join(self, cursor: Position | None) -> None:
        with suppress(NotFound):
            prepared = await self.subscriptions.prepare(NAME, cursor)
            await asyncio.sleep(0)  # the session is written
            start = cursor or prepared.position
            joined = {"type": "joined", "epoch": start.epoch, "offset": start.offset}
            while not self.outbox.put_if_it_fits(msgspec.json.encode(joined)):
                await self.outbox.room()
            self.subscriptions.begin([prepared], announce=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self.group.create_task(work, name="catch-up")

    def what_it_has(self) -> list[tuple[int, int | None]]:
        """What the client has, and what the log has there: pairs that are to be equal."""
        numbers = {one.offset: one.event.value()["n"] for one in self.log.events}
        return [(number, numbers.get(offset)) for offset, number in self.has.items()]

    def _be_slow(self, code: CloseCode = CloseCode.SLOW_CONSUMER) -> None:
        assert code is CloseCode.SLOW_CONSUMER
        self.is_slow = True
        self.outbox.finish()

    def _take(self, frame: dict[str, Any]) -> None:
        """Be a client that forgives nothing."""
        kind = frame["type"]
        if kind == "live":
            self.lives += 1
            self.is_live = True
            promised = frame["conversations"].get(NAME, 0)
            assert self.position is not None
            assert self.position.offset >= promised, "live came before what it promised"
            return
        if kind == "epoch_changed":
            old, new = (msgspec.convert(frame[name], Position) for name in ("from", "to"))
            assert (old, new.offset) == (self.position, old.offset), frame
            self.position = new
            return
        at = Position(frame["epoch"], frame["offset"])
        if kind == "event":
            before = self.position
            assert before is not None
            assert at == Position(before.epoch, before.offset + 1), f"{at} after {before}"
            self.heard.append(frame)
            self.has[at.offset] = frame["event"]["n"]
        elif kind == "joined":
            self.joins += 1
            self.is_live = False
            self.heard.clear()
            self.has = {o: n for o, n in self.has.items() if o <= at.offset and at == self.position}
        else:
            self.heard.clear()
            self.snapshots += 1
            self.has = {message["offset"]: message["n"] for message in frame["messages"]}
        self.position = at


def _nothing() -> None:
    """Do nothing: the test drains."""
