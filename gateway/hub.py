"""The hub of a replica: who listens here to which conversation, and what is heard.

One topic a conversation with a listener here. Events heard on pub/sub go to all live readers of
the topic; a reader that cannot take one as its next falls behind and reads the log. Redis remains
the truth: after every doubt about pub/sub the topics are compared with it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from gateway.concurrently import together
from gateway.errors import NotFound, StoreError
from gateway.messages import Position
from gateway.recovery import Tail, Verdict, judge
from gateway.store.calls import NOTHING_HEARD, Caller
from gateway.store.log import parse_live
from gateway.store.subscriber import Subscriber

if TYPE_CHECKING:
    from gateway.published import Published
    from gateway.settings import Settings
    from gateway.store.store import Store

TAIL_BYTES = 65_536  # of events a topic keeps in memory for those who come back
REMEMBERED_TOPICS = 10_000  # positions kept of topics nobody listens to any more
LINGER_S = 15.0  # how long a topic is heard after its last reader went: a brief absence
LINGER_TOPICS = 10_000
SWEEP_S = 1.0
COMPARE_S = 30.0  # how often positions are compared with Redis without any cause for doubt
COMPARE_AT_ONCE = 200  # topics compared in one pipeline
_log = structlog.get_logger(__name__)


class Reader(Protocol):
    """One connection's reading of one conversation."""

    caller: Caller
    connection_id: str

    def hear(self, event: Published) -> None:
        """Take an event if it is the next one."""

    def hear_whisper(self, push: bytes) -> None:
        """Pass on something that is not in the log: a push as JSON."""

    def fall_behind(self) -> None:
        """Read the log: something was missed."""

    def expel(self, left: Published) -> None:
        """The subject takes no part any more, unless it came back before it reads on."""


class Topic:
    """One conversation that is listened to here."""

    def __init__(self, tenant: str, conversation_id: str) -> None:
        self.tenant = tenant
        self.conversation_id = conversation_id
        self.tail: Tail | None = None  # None until its position is known
        self.readers: set[Reader] = set()
        self.holds = 0  # connections that use it, readers or about to be

    @property
    def epoch(self) -> str | None:
        """The epoch of what was heard; None if nothing is known yet."""
        return None if self.tail is None else self.tail.position.epoch

    def hear(self, event: Published) -> None:
        """Give an event to every reader, or tell them that something is missing."""
        if self.tail is None:
            self.tail = Tail(Position(event.epoch, event.offset - 1), max_bytes=TAIL_BYTES)
        verdict = judge(self.tail.position, event.epoch, event.offset)
        if verdict is Verdict.DUPLICATE:
            return
        if verdict is not Verdict.NEXT:
            self.tail.restart(Position(event.epoch, event.offset - 1))
        self.tail.append(event)
        for reader in tuple(self.readers):
            reader.hear(event)
        leaver = event.leaver
        if leaver is not None:
            for reader in tuple(self.readers):
                if reader.caller.subject == leaver:
                    reader.expel(event)

    def stand_at(self, position: Position) -> None:
        """Learn where the log stands; readers who lack something read it."""
        if self.tail is None:
            self.tail = Tail(position, max_bytes=TAIL_BYTES)
        elif judge(self.tail.position, position.epoch, position.offset) is not Verdict.DUPLICATE:
            self.tail.restart(position)
            for reader in tuple(self.readers):
                reader.fall_behind()


class Hub:
    """All topics of this replica, and the link that feeds them."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._timeout_s = settings.redis_timeout_s
        self._topics: dict[str, Topic] = {}
        self._lingering: dict[str, float] = {}  # channel: until when, the oldest first
        self._remembered: OrderedDict[str, Position] = OrderedDict()
        self._compare_now = asyncio.Event()
        self.on_replica_message = _ignore
        self.subscriber = Subscriber(
            store.redis,
            store.keys.replica_channel(store.replica_id),
            on_message=self._hear,
            on_rebuilt=self._compare_now.set,
        )
        store.listen_positions(self.heard)

    async def run(self) -> None:
        """Hear and compare, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscriber.run(), name="hub-subscriber")
            group.create_task(self._compare_for_ever(), name="hub-compare")
            group.create_task(self._sweep_for_ever(), name="hub-sweep")

    async def open(self, tenant: str, conversation_id: str) -> Topic:
        """Hold a topic, heard from now on; `release` it as often as it was opened.

        Raises:
            StoreUnavailable: the subscription was not confirmed.
        """
        channel = self._store.keys.conversation(tenant, conversation_id).channel
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = Topic(tenant, conversation_id)
        topic.holds += 1
        self._lingering.pop(channel, None)
        try:
            await self.subscriber.subscribe(channel, timeout_s=self._timeout_s)
        except BaseException:
            self.release(topic)
            raise
        return topic

    def release(self, topic: Topic) -> None:
        """Let go of a topic; nobody holding it, it is heard for a little longer.

        Whoever dropped out for a moment finds its newest events still in memory.
        """
        topic.holds -= 1
        channel = self._store.keys.conversation(topic.tenant, topic.conversation_id).channel
        if topic.holds <= 0 and self._topics.get(channel) is topic:
            self._lingering[channel] = asyncio.get_running_loop().time() + LINGER_S
            if len(self._lingering) > LINGER_TOPICS:
                self._close(next(iter(self._lingering)))

    def heard(self, tenant: str, conversation_id: str) -> Position:
        """Where this replica has heard a log to be, also if nobody listens any more."""
        channel = self._store.keys.conversation(tenant, conversation_id).channel
        topic = self._topics.get(channel)
        once = self._remembered.get(channel, NOTHING_HEARD)
        if topic is None or topic.tail is None:
            return once
        now = topic.tail.position
        return once if once.epoch == now.epoch and once.offset > now.offset else now

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for channel in [name for name, until in self._lingering.items() if until <= now]:
                self._close(channel)

    def _close(self, channel: str) -> None:
        del self._lingering[channel]
        topic = self._topics[channel]
        position = self.heard(topic.tenant, topic.conversation_id)
        del self._topics[channel]
        self.subscriber.unsubscribe(channel)
        if position != NOTHING_HEARD:
            self._remember(channel, position)

    def _remember(self, channel: str, position: Position) -> None:
        self._remembered[channel] = position
        self._remembered.move_to_end(channel)
        if len(self._remembered) > REMEMBERED_TOPICS:
            self._remembered.popitem(last=False)

    def _hear(self, channel: str, payload: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            if channel == self._store.keys.replica_channel(self._store.replica_id):
                self.on_replica_message(payload)
            return
        kind = payload[:2]
        if kind in {b"e:", b"b:"}:
            for event in parse_live(topic.conversation_id, payload):
                topic.hear(event)
        elif kind == b"r:":
            topic.stand_at(Position(payload[2:].decode(), 0))
        elif kind == b"w:":
            _, origin, push = payload.split(b":", 2)
            for reader in tuple(topic.readers):
                if reader.connection_id != origin.decode():
                    reader.hear_whisper(push)

    async def _compare_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(COMPARE_S):
                    await self._compare_now.wait()
            except TimeoutError:
                pass
            self._compare_now.clear()
            try:
                await self._compare()
            except StoreError as exc:
                _log.warning("fanout_compare_failed", problem=str(exc))
                self._compare_now.set()
                await asyncio.sleep(1.0)

    async def _compare(self) -> None:
        topics = list(self._topics.values())
        for start in range(0, len(topics), COMPARE_AT_ONCE):
            some = topics[start : start + COMPARE_AT_ONCE]
            await together(self._compare_one(topic) for topic in some)

    async def _compare_one(self, topic: Topic) -> None:
        try:
            position = await self._store.log.check(Caller(topic.tenant, ""), topic.conversation_id)
        except NotFound:
            return
        if position is not None:
            topic.stand_at(position)


def whisper(connection_id: str, push: msgspec.Struct) -> bytes:
    """What the channel carries for something that is not in the log."""
    return b"w:" + connection_id.encode() + b":" + msgspec.json.encode(push)


def _ignore(payload: bytes) -> None:
    del payload
