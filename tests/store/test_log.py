"""The log in Redis: what a reader at a position finds, trimmed, lost or begun anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.concurrently import together
from gateway.messages import Position
from gateway.store.log import parse_live
from tests.support.eventually import eventually
from tests.support.stores import draft, make, opened, say

if TYPE_CHECKING:
    from gateway.store.calls import Caller
    from gateway.store.store import Store
    from tests.support.redis_node import RedisNode


async def test_without_a_cursor_there_is_the_position_only(
    gateway_store: Store, alice: Caller
) -> None:
    """Nothing is replayed."""
    at = await make(gateway_store, alice, "c_1")
    cut = await gateway_store.log.read(alice, "c_1", None)
    assert (cut.mode, cut.position, cut.events, cut.snapshot) == ("fresh", at, [], None)


async def test_a_reader_pages_through_everything_after_its_cursor(
    gateway_store: Store, alice: Caller
) -> None:
    """Contiguous, in order, then nothing."""
    at = await make(gateway_store, alice, "c_1")
    await together(say(gateway_store, alice, "c_1", str(n)) for n in range(20))
    seen: list[int] = []
    cursor = Position(at.epoch, 0)
    while True:
        cut = await gateway_store.log.read(alice, "c_1", cursor, max_events=7)
        assert (cut.mode, cut.position) == ("tail", Position(at.epoch, 22))
        if not cut.events:
            break
        assert len(cut.events) <= 7
        seen += [event.offset for event in cut.events]
        cursor = Position(at.epoch, seen[-1])
    assert seen == list(range(1, 23))


@pytest.mark.parametrize("offset", [-1, 1], ids=["another epoch", "ahead"])
async def test_a_cursor_that_is_not_of_this_log_gets_a_snapshot(
    gateway_store: Store, alice: Caller, offset: int
) -> None:
    """Of another epoch, or beyond the end."""
    at = await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1")
    cursor = Position(at.epoch, 99) if offset > 0 else Position("old", 2)
    cut = await gateway_store.log.read(alice, "c_1", cursor)
    assert (cut.mode, cut.position) == ("snapshot", Position(at.epoch, 3))
    assert cut.snapshot is not None
    assert [item.value()["seq"] for item in cut.snapshot.messages] == [1]
    assert not cut.snapshot.has_more


async def test_a_snapshot_holds_the_newest_page_and_says_if_there_is_more(
    gateway_store: Store, alice: Caller
) -> None:
    """Deleted messages are left out and still counted."""
    await make(gateway_store, alice, "c_1")
    await together(say(gateway_store, alice, "c_1", str(n)) for n in range(60))
    await gateway_store.messages.delete(alice, "c_1", "m_59")
    cut = await gateway_store.log.read(alice, "c_1", Position("old", 1))
    assert cut.snapshot is not None
    assert cut.snapshot.has_more
    last = [item.value()["seq"] for item in cut.snapshot.messages]
    assert len(last) in {49, 50}


async def test_a_trimmed_log_gives_a_snapshot_and_its_end_a_tail(
    redis_server: RedisNode, alice: Caller
) -> None:
    """Never a tail with a hole."""
    async with opened(redis_server.url, log_max_events=10) as store:
        at = await make(store, alice, "c_1")
        await together(say(store, alice, "c_1", str(n)) for n in range(400))
        kept = await store.redis.execute(
            "k", "LLEN", store.keys.conversation(alice.tenant, "c_1").log
        )
        assert kept < 300
        end = 402
        modes = []
        for offset in (0, end - kept - 1, end - kept, end - 1, end):
            cut = await store.log.read(alice, "c_1", Position(at.epoch, offset))
            modes.append(cut.mode)
            assert cut.mode == "snapshot" or not cut.events or cut.events[0].offset == offset + 1
        assert modes == ["snapshot", "snapshot", "tail", "tail", "tail"]


async def test_an_expired_log_gives_a_snapshot_and_goes_on_numbering(
    gateway_store: Store, alice: Caller
) -> None:
    """The conversation outlives its log."""
    at = await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1")
    log = gateway_store.keys.conversation(alice.tenant, "c_1").log
    assert await gateway_store.redis.execute(log, "DEL", log) == 1
    assert (await gateway_store.log.read(alice, "c_1", Position(at.epoch, 1))).mode == "snapshot"
    assert (await gateway_store.log.read(alice, "c_1", Position(at.epoch, 3))).mode == "tail"
    later = await say(gateway_store, alice, "c_1", "2")
    assert later.position == Position(at.epoch, 4)
    assert len((await gateway_store.log.read(alice, "c_1", Position(at.epoch, 3))).events) == 1


async def test_a_replica_that_heard_more_than_redis_holds_begins_a_new_epoch(
    gateway_store: Store, redis_server: RedisNode, alice: Caller
) -> None:
    """Redis lost what clients have seen: all get a snapshot, and nothing is numbered twice."""
    at = await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1", "kept")
    async with opened(redis_server.url) as other:
        other.listen_positions(lambda _channel: Position(at.epoch, 9))
        cut = await other.log.read(alice, "c_1", Position(at.epoch, 9))
    assert cut.mode == "snapshot"
    assert cut.position.epoch != at.epoch
    assert cut.position.offset == 0
    for cursor in (Position(at.epoch, 1), Position(at.epoch, 3), Position(at.epoch, 9)):
        again = await gateway_store.log.read(alice, "c_1", cursor)
        assert (again.mode, again.position) == ("snapshot", cut.position)
    after = await say(gateway_store, alice, "c_1", "new")
    assert (after.seq, after.position) == (2, Position(cut.position.epoch, 1))


async def test_a_new_epoch_is_begun_once(
    gateway_store: Store, redis_server: RedisNode, alice: Caller
) -> None:
    """Replicas that heard the same agree on it, whatever they ask."""
    at = await make(gateway_store, alice, "c_1")
    async with opened(redis_server.url) as one, opened(redis_server.url) as two:
        for store in (one, two):
            store.listen_positions(lambda _channel: Position(at.epoch, 9))
        epochs = {
            (await store.log.read(alice, "c_1", None)).position.epoch for store in (one, two) * 2
        }
    assert len(epochs) == 1
    assert at.epoch not in epochs


async def test_what_a_replica_heard_of_an_older_epoch_means_nothing(
    redis_server: RedisNode, alice: Caller
) -> None:
    """Nor does having heard less."""
    async with opened(redis_server.url) as store:
        at = await make(store, alice, "c_1")
        for heard in (Position("older", 99), Position(at.epoch, 1), at):
            store.listen_positions(lambda _channel, heard=heard: heard)
            assert (await store.log.read(alice, "c_1", None)).position == at


async def test_a_duplicate_of_before_a_new_epoch_keeps_its_own_position(
    redis_server: RedisNode, alice: Caller
) -> None:
    """A reader that goes on from there gets a snapshot: its offset counts in no other epoch."""
    async with opened(redis_server.url) as store:
        at = await make(store, alice, "c_1")
        for n in range(5):
            first = await say(store, alice, "c_1", str(n))
        store.listen_positions(lambda _channel: Position(at.epoch, 99))
        for n in range(5, 15):
            await say(store, alice, "c_1", str(n))
        again = await say(store, alice, "c_1", "4")
        assert (again.is_duplicate, again.position) == (True, first.position)
        assert (await store.log.read(alice, "c_1", again.position)).mode == "snapshot"


async def test_a_position_is_checked_without_being_a_participant(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """A replica asks for itself; None where there is no conversation."""
    at = await make(gateway_store, alice, "c_1")
    assert await gateway_store.log.check(bob, "c_1") == at
    assert await gateway_store.log.check(bob, "c_none") is None


def test_a_live_copy_is_taken_apart_at_its_first_colons() -> None:
    """The event may hold any."""
    (event,) = parse_live("c_1", b'e:x_-1:42:{"a":"b:c"}')
    assert (event.epoch, event.offset, event.event.value()) == ("x_-1", 42, {"a": "b:c"})


def test_a_live_copy_of_several_events_is_cut_by_their_sizes() -> None:
    """In bytes, not in characters; numbered from the first."""
    several = parse_live("c_1", 'b:x:9:13,2,11:{"a":"ä:c,"}{}{"b":"€"}'.encode())
    assert [(event.epoch, event.offset) for event in several] == [("x", 9), ("x", 10), ("x", 11)]
    assert [event.event.value() for event in several] == [{"a": "ä:c,"}, {}, {"b": "€"}]


async def test_a_log_is_kept_for_its_time_after_the_last_event(
    redis_server: RedisNode, alice: Caller
) -> None:
    """And a tenth longer at most; its expiry is set anew only when it has run down to its time."""
    async with opened(redis_server.url, log_ttl_s=100.0) as store:
        await make(store, alice, "c_1")
        log = store.keys.conversation(alice.tenant, "c_1").log
        for left_ms, is_set_anew in ((105_000, False), (60_000, True)):
            await store.redis.execute(log, "PEXPIRE", log, left_ms)
            base = store.keys.conversation(alice.tenant, "c_1").base
            seconds, _ = await store.redis.execute(base, "TIME")
            await store.redis.execute(
                base, "HSET", base, "log_until", int(seconds) * 1000 + left_ms
            )
            await say(store, alice, "c_1", str(left_ms))
            kept_ms = await store.redis.execute(log, "PTTL", log)
            assert (kept_ms > 105_000) is is_set_anew
            assert 100_000 < kept_ms <= 111_000


async def test_a_log_that_was_lost_has_an_expiry_again(gateway_store: Store, alice: Caller) -> None:
    """Whatever is noted of the one before."""
    await make(gateway_store, alice, "c_1")
    log = gateway_store.keys.conversation(alice.tenant, "c_1").log
    await gateway_store.redis.execute(log, "DEL", log)
    await say(gateway_store, alice, "c_1")
    assert await gateway_store.redis.execute(log, "PTTL", log) > 0


async def test_a_large_room_and_a_long_history_are_tables(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """Redis would look through them from their beginning; nothing else can be seen of it."""
    names = [f"s{n}" for n in range(99)]
    await make(gateway_store, alice, "c_1", participants=names)
    await gateway_store.messages.send_many(alice, "c_1", [draft("c_1", str(n)) for n in range(65)])
    for key in gateway_store.keys.conversation(alice.tenant, "c_1").all()[3:5]:
        assert await gateway_store.redis.execute(key, "OBJECT", "ENCODING", key) == b"hashtable"
    described = await gateway_store.conversations.describe(alice, "c_1")
    assert {member.subject for member in described.members} == {"alice", *names}
    assert {member.role for member in described.members} == {"owner", "member"}
    assert await gateway_store.messages.find(alice, "c_1", "m_64") is not None


async def test_what_one_script_appends_is_published_at_once(
    gateway_store: Store, redis_server: RedisNode, alice: Caller
) -> None:
    """As the log holds it."""
    at = await make(gateway_store, alice, "c_1")
    heard: list[bytes] = []
    link = await gateway_store.redis.open_any()
    try:
        link.on_push = lambda push: heard.append(push[2])
        link.send("SUBSCRIBE", gateway_store.keys.conversation(alice.tenant, "c_1").channel)
        await eventually(lambda: heard == [1], what="it is subscribed")
        drafts = [draft("c_1", str(n), "ä€") for n in range(3)]
        await gateway_store.messages.send_many(alice, "c_1", drafts)
        await say(gateway_store, alice, "c_1", "4")
        await eventually(lambda: len(heard) == 3, what="both have come")
    finally:
        link.close()
    live = [event for payload in heard[1:] for event in parse_live("c_1", payload)]
    cut = await gateway_store.log.read(alice, "c_1", at)
    assert [(event.epoch, event.offset, event.event) for event in live] == [
        (event.epoch, event.offset, event.event) for event in cut.events
    ]
