"""The hub on a real Redis: topics are heard, compared with the log, let go of and remembered."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.codes import CloseCode
from gateway.errors import StoreUnavailable
from gateway.fanout.hub import Hub
from gateway.fanout.outbox import Outbox
from gateway.fanout.subscriptions import Subscriptions
from gateway.identity.caller import Caller
from gateway.protocol.batches import Batch, Pushes
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position, Presence
from gateway.protocol.publications import Publication
from gateway.settings import Settings
from gateway.store.channel import whisper
from tests.support.eventually import eventually
from tests.support.stores import make, opened, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from gateway.fanout.topic import Topic
    from gateway.protocol.encoders import Encoder
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode


class Replica:
    """A store and a hub at work."""

    def __init__(self, store: Store, group: asyncio.TaskGroup) -> None:
        self.store = store
        self.hub = Hub(store, Settings())
        self.group = group

    async def is_hearing(self) -> None:
        """Wait until the hub hears."""
        await eventually(self.hub.subscriber.is_hearing, what="the hub hears", within_s=15)

    def attach(
        self,
        caller: Caller,
        *,
        outbox_bytes: int = 1_000_000,
        encoder: Encoder = ENCODERS["json"],
    ) -> Subscriptions:
        """Return the readers of a connection without a socket."""
        outbox = Outbox(outbox_bytes, on_full=lambda: outbox.finish(), on_filled=lambda: None)  # noqa: PLW0108
        return Subscriptions(
            self.hub,
            self.store.log,
            outbox,
            encoder,
            caller=caller,
            connection_id="k_1",
            max_conversations=1000,
            spawn=self._spawn,
            fail=lambda _code: outbox.finish(),
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self.group.create_task(work, name="catch-up")


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[Replica]:
    """Yield a replica whose hub hears."""
    async with opened(url) as store, asyncio.TaskGroup() as group:
        made = Replica(store, group)
        running = group.create_task(made.hub.run(), name="hub")
        await made.is_hearing()
        try:
            yield made
        finally:
            running.cancel()


class Recorder:
    """A reader that writes down what it is told."""

    def __init__(self, caller: Caller, connection_id: str = "k_1") -> None:
        self.subject = caller.subject
        self.connection_id = connection_id
        self.position = Position("", 0)
        self.offsets: list[int] = []
        self.whispers: list[bytes] = []
        self.fell_behind = 0
        self.mistrusted = 0
        self.failed_with: CloseCode | None = None
        self.expelled_at: int | None = None

    def take(self, batch: Batch) -> None:
        """Take events."""
        self.offsets += [event.offset for event in batch.events]

    def take_rest(self, batch: Batch) -> None:
        """Take events."""
        self.take(batch)

    def hear_whisper(self, whispered: Pushes) -> None:
        """Take a whisper."""
        self.whispers += whispered.payloads(ENCODERS["json"])

    def fall_behind(self, position: Position) -> None:
        """Count, and remember from where."""
        self.position = position
        self.fell_behind += 1

    def mistrust(self) -> None:
        """Count."""
        self.mistrusted += 1

    def fail(self, code: CloseCode) -> None:
        """Remember."""
        self.failed_with = code

    def expel(self, left: Publication) -> None:
        """Remember."""
        self.expelled_at = left.offset


@pytest.fixture
def alice(tenant: str) -> Caller:
    """Who makes the conversations."""
    return Caller(tenant, "alice")


async def heard_topic(made: Replica, caller: Caller) -> Topic:
    """Hold the topic of `c_1`, heard from now on."""
    topic = made.hub.hold(caller.tenant, "c_1")
    await made.hub.wait_until_heard(topic)
    return topic


async def listen(made: Replica, caller: Caller) -> tuple[Topic, Recorder]:
    """Open the topic of `c_1` with one reader."""
    topic = await heard_topic(made, caller)
    if (position := await made.store.log.check(caller, "c_1")) is not None:
        topic.stand_at(position)
    reader = Recorder(caller)
    topic.readers.add(reader)
    topic.live.add(reader)
    return topic, reader


async def test_what_one_replica_writes_the_others_hear(
    redis_server: RedisNode, alice: Caller
) -> None:
    """In order, once, each reader of each."""
    async with replica(redis_server.url) as one, replica(redis_server.url) as two:
        await make(one.store, alice, "c_1")
        heard = [(await listen(made, alice))[1] for made in (one, one, two)]
        for n in range(20):
            await say(one.store, alice, "c_1", str(n))
        for reader in heard:
            await eventually(lambda reader=reader: len(reader.offsets) == 20, what="all is heard")
            assert reader.offsets == list(range(3, 23))


async def test_a_topic_that_has_a_gap_begins_anew(redis_server: RedisNode, alice: Caller) -> None:
    """Its memory is contiguous; readers judge for themselves."""
    async with replica(redis_server.url) as made:
        topic, reader = await listen(made, alice)
        for offset in (5, 6, 9, 6):
            topic.hear([Publication("c_1", "x", offset, JsonText(b"{}"))])
        assert reader.offsets == [5, 6, 9]
        assert (reader.fell_behind, reader.position) == (1, Position("x", 6))
        assert topic.tail is not None
        assert topic.tail.position == Position("x", 9)
        assert topic.tail.after(Position("x", 6)) is None
        topic.hear([Publication("c_1", "y", 1, JsonText(b"{}"))])
        assert topic.epoch == "y"


async def test_a_topic_learns_where_the_log_stands(redis_server: RedisNode, alice: Caller) -> None:
    """Readers read on only if there is something new."""
    async with replica(redis_server.url) as made:
        topic, reader = await listen(made, alice)
        topic.stand_at(Position("x", 5))
        topic.stand_at(Position("x", 5))
        topic.stand_at(Position("x", 3))
        assert reader.fell_behind == 0
        topic.stand_at(Position("x", 6))
        topic.stand_at(Position("y", 0))
        assert reader.fell_behind == 2


async def test_who_is_removed_is_expelled_and_others_are_not(
    redis_server: RedisNode, alice: Caller
) -> None:
    """After they have heard of it."""
    bob = Caller(alice.tenant, "bob")
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1", participants=["bob"])
        _, hers = await listen(made, alice)
        _, his = await listen(made, bob)
        await made.store.conversations.set_member(alice, "c_1", "bob", None)
        await eventually(lambda: his.expelled_at, what="bob is expelled")
        assert his.expelled_at == his.offsets[-1]
        assert hers.expelled_at is None


async def test_a_whisper_reaches_all_but_the_connection_it_comes_from(
    redis_server: RedisNode, alice: Caller
) -> None:
    """As JSON, whatever is in it."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        topic, mine = await listen(made, alice)
        other = Recorder(alice, "k_2")
        topic.readers.add(other)
        topic.live.add(other)
        push = Presence(conversation_id="c_1", subject="a:b", online=True)
        await made.store.conversations.whisper(alice, "c_1", whisper("k_1", push))
        await eventually(lambda: other.whispers, what="the other hears it")
        assert b'"subject":"a:b"' in other.whispers[0]
        assert mine.whispers == []


async def test_events_that_redis_lost_are_noticed_by_comparing(
    redis_server: RedisNode, alice: Caller
) -> None:
    """Its readers have what is in no log any more: they get a snapshot, before anybody writes."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        topic, reader = await listen(made, alice)
        await say(made.store, alice, "c_1", "1")
        lost = await say(made.store, alice, "c_1", "2")
        await eventually(lambda: reader.offsets == [3, 4], what="it is heard")
        keys = made.store.keys.conversation(alice.tenant, "c_1")
        await made.store.redis.execute(keys.base, "HSET", keys.base, "offset", 3)
        await made.hub._compare([topic])
        assert reader.mistrusted == 1
        assert topic.tail is not None
        assert topic.tail.position == Position(lost.position.epoch, 3)
        await made.hub._compare([topic])
        assert reader.mistrusted == 1


async def test_readers_of_a_conversation_that_is_gone_are_sent_away(
    redis_server: RedisNode, alice: Caller
) -> None:
    """They come back, and learn that there is none."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        topic, reader = await listen(made, alice)
        await made.hub._compare([topic])
        assert reader.failed_with is None
        base = made.store.keys.conversation(alice.tenant, "c_1").base
        await made.store.redis.execute(base, "DEL", base)
        await made.hub._compare([topic])
        assert reader.failed_with is CloseCode.UNAVAILABLE


async def test_topics_whose_server_is_away_hold_up_no_others(
    redis_server: RedisNode, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several that are compared together, the others learn where their logs stand."""
    async with replica(redis_server.url) as made:
        names = [f"c_{n}" for n in range(3)]
        topics = []
        for name in names:
            await make(made.store, alice, name)
            topics.append(made.hub.hold(alice.tenant, name))
        ask, away = made.store.log.check, [True]

        async def check(caller: Caller, name: str) -> Position | None:
            if name == "c_0" and away[0]:
                raise StoreUnavailable("its server is away")
            return await ask(caller, name)

        monkeypatch.setattr(made.store.log, "check", check)
        await made.hub._compare(topics)
        assert [topic.tail is not None for topic in topics] == [False, True, True]
        away[0] = False
        await eventually(lambda: topics[0].tail is not None, what="it is asked again")


async def test_another_event_under_a_name_that_was_heard_is_an_error(
    redis_server: RedisNode, alice: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    """It must not be; if it is, that is told loudly, and readers get a snapshot."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        topic, reader = await listen(made, alice)
        said = await say(made.store, alice, "c_1", "1")
        await eventually(lambda: reader.offsets == [3], what="it is heard")
        assert topic.tail is not None
        (same,) = topic.tail.after(Position(said.position.epoch, 2)).events
        topic.hear([same])
        assert reader.mistrusted == 0
        other = Publication("c_1", same.epoch, same.offset, JsonText(b'{"type":"OTHER"}'))
        topic.hear([other])
        assert reader.mistrusted == 1
        assert "log_diverged" in capsys.readouterr().out


async def test_an_event_heard_again_after_its_message_was_deleted_is_no_fork(
    redis_server: RedisNode, alice: Caller, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in memory lost its text by then; it is the same event all the same."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        topic, reader = await listen(made, alice)
        said = await say(made.store, alice, "c_1", "1", "secret")
        await eventually(lambda: reader.offsets == [3], what="it is heard")
        assert topic.tail is not None
        before = Position(said.position.epoch, 2)
        (original,) = topic.tail.after(before).events
        await made.store.messages.delete(alice, "c_1", "m_1")
        await eventually(lambda: reader.offsets == [3, 4], what="its deletion is heard")
        assert "secret" not in str([event.event for event in topic.tail.after(before).events])
        topic.hear([original])
        assert reader.mistrusted == 0
        assert "log_diverged" not in capsys.readouterr().out


async def test_a_topic_is_heard_as_long_as_somebody_holds_it(
    redis_server: RedisNode, alice: Caller
) -> None:
    """And a moment longer, for who comes back."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        first, reader = await listen(made, alice)
        second = await heard_topic(made, alice)
        assert first is second
        made.hub.release(first)
        await say(made.store, alice, "c_1", "1")
        await eventually(lambda: reader.offsets == [3], what="it is heard")
        made.hub.release(second)
        assert await heard_topic(made, alice) is first
        made.hub.release(first)
        for channel in list(made.hub._lingering):
            made.hub._close(channel)
        assert await heard_topic(made, alice) is not first


async def test_what_was_missed_while_deaf_is_found_by_comparing(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """A rebuilt link is followed by a look at the log, without any new event."""
    redis = await own_redis()
    async with opened(redis.url) as writer, replica(redis.url) as made:
        at = await make(writer, alice, "c_1")
        subscriptions = made.attach(alice)
        prepared = await subscriptions.prepare("c_1", at)
        subscriptions.begin([prepared], announce=True)
        subscriber = made.hub.subscriber
        assert subscriber._link is not None
        subscriber._link.on_push = lambda _push: None  # the fast path is deaf
        for n in range(600):
            await say(writer, alice, "c_1", str(n))
        await redis.call("CLIENT", "KILL", "TYPE", "pubsub")
        frames: list[str] = []
        await eventually(lambda: _gather(subscriptions, frames) >= 601, what="all came")
        offsets = [part.split(",", 1)[0] for part in "".join(frames).split('"offset":')[1:]]
        assert offsets == [str(n) for n in range(3, 603)]


def _gather(subscriptions: Subscriptions, frames: list[str]) -> int:
    for item in subscriptions.outbox.take(1_000_000_000):
        payloads = item.payloads(ENCODERS["json"]) if isinstance(item, Batch) else [item]
        frames.extend(payload.decode() for payload in payloads)
    return len(frames)


async def test_a_client_with_many_snapshots_is_served_at_its_pace(
    redis_server: RedisNode, alice: Caller
) -> None:
    """More state than the outbox holds is no reason to cut it off."""
    async with replica(redis_server.url) as made:
        subscriptions = made.attach(alice, outbox_bytes=64_000)
        prepared = []
        for n in range(12):
            await make(made.store, alice, f"c_{n}")
            for m in range(4):
                await say(made.store, alice, f"c_{n}", str(m), "x" * 3000)
            prepared.append(await subscriptions.prepare(f"c_{n}", Position("older", 1)))
        subscriptions.begin(prepared, announce=True)
        frames: list[str] = []
        await eventually(
            lambda: _gather(subscriptions, frames) and '"type":"live"' in frames[-1],
            what="live is told",
        )
        assert not subscriptions.outbox.is_finished
        assert sum('"type":"snapshot"' in frame for frame in frames) == 12


async def test_a_reader_behind_reads_on_when_redis_is_back(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """It waits for storage; nobody has to ask again."""
    redis = await own_redis()
    async with replica(redis.url) as made:
        at = await make(made.store, alice, "c_1")
        subscriptions = made.attach(alice)
        await subscriptions.hold("c_1")
        for n in range(300):
            await say(made.store, alice, "c_1", str(n))
        redis.kill()
        subscriptions._topics["c_1"].tail = None
        subscriptions.begin_at("c_1", at)
        await redis.start()
        frames: list[str] = []
        await eventually(
            lambda: _gather(subscriptions, frames) == 300, what="all came", within_s=20
        )
