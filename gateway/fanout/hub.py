"""The hub of a replica: who listens here to which conversation, and what is heard.

One topic a conversation with a listener here. Events heard on pub/sub go to all live readers of
the topic; a reader that cannot take one as its next falls behind and reads the log. Redis remains
the truth: after every doubt about pub/sub the topics are compared with it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.codes import CloseCode
from gateway.errors import StoreError
from gateway.fanout.topic import Topic
from gateway.identity.caller import Caller
from gateway.protocol.batches import Pushes
from gateway.protocol.json_text import JsonText
from gateway.protocol.unreadable import is_json
from gateway.store.channel import parse_live
from gateway.store.redis.subscriber import Subscriber
from gateway.tasks import together

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.store import Store

LINGER_S = 15.0  # how long a topic is heard after its last reader went: a brief absence
LINGER_TOPICS = 10_000
SWEEP_S = 1.0
COMPARE_S = 30.0  # how often positions are compared with Redis without any cause for doubt
COMPARE_AGAIN_S = 1.0  # after Redis was away
COMPARE_AT_ONCE = 200  # topics compared in one pipeline
_log = structlog.get_logger(__name__)


class Hub:
    """All topics of this replica, and the link that feeds them."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._timeout_s = settings.redis_timeout_s
        self._topics: dict[str, Topic] = {}
        self._lingering: dict[str, float] = {}  # channel: until when, the oldest first
        self._fresh: list[Topic] = []  # with something to deliver
        self._unchecked: set[Topic] = set()  # to be compared with their logs
        self._check_now = asyncio.Event()
        self._compare_now = asyncio.Event()
        self.on_replica_message = self.on_push = _ignore
        self.subscriber = Subscriber(
            store.redis,
            store.keys.replica_channel(store.replica_id),
            on_message=self._hear,
            on_rebuilt=self._compare_now.set,
        )
        self._push_channel = store.keys.push_channel(store.replica_id)
        self.subscriber.begin(self._push_channel)
        store.redis.on_new_reign = self._compare_now.set

    async def run(self) -> None:
        """Hear and compare, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscriber.run(), name="hub-subscriber")
            group.create_task(self._compare_for_ever(), name="hub-compare")
            group.create_task(self._check_for_ever(), name="hub-check")
            group.create_task(self._sweep_for_ever(), name="hub-sweep")

    def hold(self, tenant: str, conversation_id: str) -> Topic:
        """Hold a topic, which is about to be heard; `release` it as often as it was held."""
        channel = self._channel(tenant, conversation_id)
        topic = self._topics.get(channel)
        if topic is None:
            topic = self._topics[channel] = Topic(tenant, conversation_id)
        topic.holds += 1
        self._lingering.pop(channel, None)
        topic.is_heard = self.subscriber.begin(channel)
        return topic

    async def wait_until_heard(self, topic: Topic) -> None:
        """Wait until a topic that is held is heard.

        Raises:
            StoreUnavailable: the subscription was not confirmed.
        """
        if not topic.is_heard:
            channel = self._channel(topic.tenant, topic.conversation_id)
            await self.subscriber.subscribe(channel, timeout_s=self._timeout_s)
            topic.is_heard = True

    def _channel(self, tenant: str, conversation_id: str) -> str:
        return self._store.keys.conversation(tenant, conversation_id).channel

    def check_soon(self, topic: Topic) -> None:
        """Compare a topic with its log, which was read before the topic was heard."""
        self._unchecked.add(topic)
        self._check_now.set()

    def release(self, topic: Topic) -> None:
        """Let go of a topic; nobody holding it, it is heard for a little longer.

        Whoever dropped out for a moment finds its newest events still in memory.
        """
        topic.holds -= 1
        channel = self._channel(topic.tenant, topic.conversation_id)
        if topic.holds <= 0 and self._topics.get(channel) is topic:
            self._lingering[channel] = asyncio.get_running_loop().time() + LINGER_S
            if len(self._lingering) > LINGER_TOPICS:
                self._close(next(iter(self._lingering)))

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for channel in [name for name, until in self._lingering.items() if until <= now]:
                self._close(channel)

    def _close(self, channel: str) -> None:
        del self._lingering[channel]
        del self._topics[channel]
        self.subscriber.unsubscribe(channel)

    def _hear(self, channel: str, payload: bytes) -> None:
        topic = self._topics.get(channel)
        if topic is None:
            if channel == self._store.keys.replica_channel(self._store.replica_id):
                self.on_replica_message(payload)
            elif channel == self._push_channel:
                self.on_push(payload)
            return
        kind = payload[:2]
        if kind in {b"e:", b"b:"}:
            if not topic.fresh:
                self._fresh.append(topic)
                if len(self._fresh) == 1:
                    asyncio.get_running_loop().call_soon(self._deliver)
            try:
                topic.fresh.extend(parse_live(topic.conversation_id, payload))
            except ValueError as exc:
                self._misheard(topic, exc)
            return
        self._deliver_one(topic)
        if kind == b"w:":
            self._pass_on(topic, payload[2:])

    @staticmethod
    def _pass_on(topic: Topic, whisper: bytes) -> None:
        """Give what is not in the log to all but the connection it comes from."""
        origin, _, told = whisper.partition(b":")
        pushes = [JsonText(push) for push in told.split(b"\n")]
        whispered = Pushes([push for push in pushes if is_json(push)])
        for reader in (*topic.live, *topic.ahead):
            if reader.connection_id.encode() != origin:
                reader.hear_whisper(whispered)

    def _misheard(self, topic: Topic, exc: ValueError) -> None:
        """What was published is none of ours: as if it was not heard, whatever it should tell."""
        _log.warning(
            "publication_unreadable", conversation_id=topic.conversation_id, problem=str(exc)
        )
        self.check_soon(topic)

    def _deliver(self) -> None:
        """Give each topic what was heard in this tick."""
        topics, self._fresh = self._fresh, []
        for topic in topics:
            self._deliver_one(topic)

    def _deliver_one(self, topic: Topic) -> None:
        events, topic.fresh = topic.fresh, []
        if not events:
            return
        if topic.epoch not in {None, events[-1].epoch}:
            self.check_soon(topic)  # it may be of a master that was replaced
        try:
            topic.hear(events)
        except Exception:  # noqa: BLE001  # the edge: it costs this topic's readers only
            _log.exception("delivery_failed", conversation_id=topic.conversation_id)
            topic.fail(CloseCode.SERVER_FAULT)

    async def _compare_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(COMPARE_S):
                    await self._compare_now.wait()
            except TimeoutError:
                pass
            self._compare_now.clear()
            await self._compare(list(self._topics.values()))

    async def _check_for_ever(self) -> None:
        while True:
            await self._check_now.wait()
            self._check_now.clear()
            topics, self._unchecked = list(self._unchecked), set()
            await self._compare(topics)
            if self._unchecked.intersection(topics):  # Redis was away for some; not all need wait
                await asyncio.sleep(COMPARE_AGAIN_S)

    async def _compare(self, topics: list[Topic]) -> None:
        """Compare topics; those whose server is away are checked again, and hold up no others."""
        problems: list[str] = []
        for start in range(0, len(topics), COMPARE_AT_ONCE):
            some = topics[start : start + COMPARE_AT_ONCE]
            found = await together(self._compare_or_put_off(topic) for topic in some)
            problems += [problem for problem in found if problem is not None]
        if problems:
            _log.warning("fanout_compare_failed", problem=problems[0], topics=len(problems))

    async def _compare_or_put_off(self, topic: Topic) -> str | None:
        try:
            await self._compare_one(topic)
        except StoreError as exc:
            self.check_soon(topic)
            return str(exc)
        return None

    async def _compare_one(self, topic: Topic) -> None:
        asked_at = topic.furthest
        found = await self._store.log.check(Caller(topic.tenant, ""), topic.conversation_id)
        if found is not None:
            topic.compare(found, asked_at=asked_at)
        elif asked_at is not None:
            _log.warning("conversation_gone", conversation_id=topic.conversation_id)
            topic.fail(CloseCode.UNAVAILABLE)


def _ignore(payload: bytes) -> None:
    del payload
