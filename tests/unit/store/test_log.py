"""The log in Redis: what a reader at a position finds, trimmed, lost or begun anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.protocol.messages import Position
from gateway.store.channel import parse_live
from gateway.tasks import together
from tests.support.eventually import eventually
from tests.support.stores import draft, epoch_ends, make, opened, say, under_another_reign

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
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
    """The oldest first; another message is there for one that was deleted."""
    await make(gateway_store, alice, "c_1")
    await together(say(gateway_store, alice, "c_1", str(n)) for n in range(60))
    await gateway_store.messages.delete(alice, "c_1", "m_59")
    cut = await gateway_store.log.read(alice, "c_1", Position("old", 1))
    assert cut.snapshot is not None
    assert cut.snapshot.has_more
    last = [item.value()["seq"] for item in cut.snapshot.messages]
    gone = next(seq for seq in range(1, 61) if seq not in last and seq > min(last))
    assert last == [seq for seq in range(10, 61) if seq != gone]


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


async def test_another_reign_goes_on_at_the_next_offset_under_another_name(
    gateway_store: Store, alice: Caller
) -> None:
    """Events written by another master after the fork never have the name of one of these."""
    at = await make(gateway_store, alice, "c_1")
    await under_another_reign(gateway_store, alice, "c_1")
    assert (await gateway_store.log.read(alice, "c_1", None)).position.offset == at.offset
    after = await say(gateway_store, alice, "c_1")
    assert after.position.offset == at.offset + 1
    assert after.position.epoch != at.epoch
    same = await say(gateway_store, alice, "c_1", "2")
    assert same.position == Position(after.position.epoch, at.offset + 2)


async def test_a_cursor_is_good_up_to_where_its_epoch_ended(
    gateway_store: Store, alice: Caller
) -> None:
    """Before that the events have the names they were written under; beyond it is a snapshot."""
    at = await make(gateway_store, alice, "c_1")
    old = await say(gateway_store, alice, "c_1", "1")
    await under_another_reign(gateway_store, alice, "c_1")
    was = (await gateway_store.log.read(alice, "c_1", None)).position
    new = await say(gateway_store, alice, "c_1", "2")
    cut = await gateway_store.log.read(alice, "c_1", Position(was.epoch, at.offset))
    assert cut.mode == "tail"
    assert cut.position == new.position
    names = [Position(event.epoch, event.offset) for event in cut.events]
    assert names == [Position(was.epoch, old.position.offset), new.position]
    ghost = Position(was.epoch, was.offset + 1)
    assert (await gateway_store.log.read(alice, "c_1", ghost)).mode == "snapshot"
    ahead = Position(new.position.epoch, new.position.offset + 1)
    assert (await gateway_store.log.read(alice, "c_1", ahead)).mode == "snapshot"


async def test_readers_of_one_read_are_judged_each_by_their_own_cursor(
    gateway_store: Store, alice: Caller
) -> None:
    """One script for all of an epoch: who saw what is gone gets a snapshot, the others a tail."""
    await make(gateway_store, alice, "c_1")
    was = await epoch_ends(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1")
    cuts = await asyncio.gather(
        *(
            gateway_store.log.read(alice, "c_1", Position(was.epoch, was.offset + beyond))
            for beyond in (-1, 0, 1)
        )
    )
    assert [cut.mode for cut in cuts] == ["tail", "tail", "snapshot"]
    assert [len(cut.events) for cut in cuts] == [2, 1, 0]


async def test_a_log_remembers_its_last_sixteen_epochs(gateway_store: Store, alice: Caller) -> None:
    """A cursor of an older one gets a snapshot, although the log still holds what follows it."""
    await make(gateway_store, alice, "c_1")
    ended = []
    for n in range(18):
        ended.append(await epoch_ends(gateway_store, alice, "c_1"))
        await say(gateway_store, alice, "c_1", str(n))
    modes = [(await gateway_store.log.read(alice, "c_1", cursor)).mode for cursor in ended]
    assert modes == ["snapshot"] * 2 + ["tail"] * 16
    assert len({cursor.epoch for cursor in ended}) == 18


@pytest.mark.parametrize("name", ["", "-", ",", ":", "x:1,y", "%d+", "é" * 30])
async def test_an_epoch_that_was_never_is_a_snapshot(
    gateway_store: Store, alice: Caller, name: str
) -> None:
    """Whatever a client writes there."""
    await make(gateway_store, alice, "c_1")
    await epoch_ends(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1")
    assert (await gateway_store.log.read(alice, "c_1", Position(name, 0))).mode == "snapshot"


async def test_an_epoch_of_an_earlier_version_is_gone_on_from(
    gateway_store: Store, alice: Caller
) -> None:
    """Its name says nothing of a reign: the first event after the upgrade begins a new one."""
    at = await make(gateway_store, alice, "c_1")
    base = gateway_store.keys.conversation(alice.tenant, "c_1").base
    await gateway_store.redis.execute(base, "HSET", base, "epoch", "Yv7zZ3tO0")
    first = await say(gateway_store, alice, "c_1", "1")
    second = await say(gateway_store, alice, "c_1", "2")
    assert first.position.epoch == second.position.epoch != at.epoch
    cut = await gateway_store.log.read(alice, "c_1", Position("Yv7zZ3tO0", at.offset))
    assert [event.offset for event in cut.events] == [at.offset + 1, at.offset + 2]


async def test_a_repeat_begins_no_epoch(gateway_store: Store, alice: Caller) -> None:
    """It writes nothing, so nothing changes its name."""
    await make(gateway_store, alice, "c_1")
    first = await say(gateway_store, alice, "c_1", "1")
    was = await epoch_ends(gateway_store, alice, "c_1")
    again = await say(gateway_store, alice, "c_1", "1")
    assert (again.is_duplicate, again.position) == (True, first.position)
    assert (await gateway_store.log.read(alice, "c_1", None)).position == was


async def test_a_position_is_checked_without_being_a_participant(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """A replica asks for itself; None where there is no conversation."""
    at = await make(gateway_store, alice, "c_1")
    assert await gateway_store.log.check(bob, "c_1") == at
    assert await gateway_store.log.check(bob, "c_none") is None


def test_a_live_copy_is_taken_apart_at_its_first_colons() -> None:
    """The event may hold any."""
    (event,) = parse_live("c_1", b'e:x_-1:42:{"type":"b:c"}')
    assert (event.epoch, event.offset, event.event.value()) == ("x_-1", 42, {"type": "b:c"})


def test_a_live_copy_of_several_events_is_cut_by_their_sizes() -> None:
    """In bytes, not in characters; numbered from the first."""
    payload = 'b:x:9:16,12,14:{"type":"ä:c,"}{"type":"b"}{"type":"€"}'
    several = parse_live("c_1", payload.encode())
    assert [(event.epoch, event.offset) for event in several] == [("x", 9), ("x", 10), ("x", 11)]
    assert [event.event.value()["type"] for event in several] == ["ä:c,", "b", "€"]


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
