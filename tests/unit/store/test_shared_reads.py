"""Reads that share a call: one script for all who ask in a tick, each with their own answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.errors import NotFound, StoreUnavailable
from gateway.identity.caller import Caller
from gateway.protocol.messages import Position
from gateway.store.redis import master_link
from gateway.store.shared_reads import MAX_READERS
from gateway.tasks import together
from tests.support.stores import draft, make, opened, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.cuts import Cut
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode


@pytest.fixture(autouse=True)
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a link look at its master's reign once only: scripts are counted here."""
    monkeypatch.setattr(master_link, "LOOK_AGAIN_S", 1e6)


async def calls_made(redis: RedisNode) -> int:
    """Return how many scripts were run since the statistics were reset."""
    stats = await redis.info("commandstats")
    return sum(
        int(line.split("calls=")[1].split(",")[0])
        for name, line in stats.items()
        if name in {"cmdstat_evalsha", "cmdstat_eval"}
    )


async def read_all(
    store: Store, caller: Caller, cursors: Sequence[Position | None], **options: object
) -> list[Cut]:
    """Read `c_1` from each cursor, at once."""
    return await together(store.log.read(caller, "c_1", at, **options) for at in cursors)


def offsets(cut: Cut) -> list[int]:
    """Return the offsets of a cut's events."""
    return [event.offset for event in cut.events]


async def test_readers_with_one_cursor_get_the_very_same_events(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """Frames are then encoded once for all of them; another cursor shares the events."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        at = await make(store, alice, "c_1")
        await store.messages.send_many(alice, "c_1", [draft("c_1", str(n)) for n in range(10)])
        await store.log.read(alice, "c_1", None)
        await redis.call("CONFIG", "RESETSTAT")
        cursors = [Position(at.epoch, 5)] * 3 + [Position(at.epoch, 9), at, None]
        found = await read_all(store, alice, cursors)
        assert await calls_made(redis) == 1
    assert [offsets(cut) for cut in found[3:]] == [[10, 11, 12], list(range(3, 13)), []]
    assert offsets(found[0]) == list(range(6, 13))
    assert found[0].events is found[1].events is found[2].events
    assert found[3].events[0] is found[0].events[4]
    assert [cut.mode for cut in found] == ["tail"] * 5 + ["fresh"]
    assert {cut.position.offset for cut in found} == {12}


async def test_each_reader_is_answered_by_their_own_membership(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """A stranger among participants learns nothing, and spoils nothing."""
    at = await make(gateway_store, alice, "c_1", participants=["bob"])
    carol = Caller(alice.tenant, "carol")

    async def outcome(caller: Caller) -> object:
        try:
            return (await gateway_store.log.read(caller, "c_1", Position(at.epoch, 0))).mode
        except NotFound as exc:
            return exc.code

    found = await together(outcome(caller) for caller in (carol, alice, bob, carol, alice))
    assert found == ["not_found", "tail", "tail", "not_found", "tail"]
    assert await together(outcome(carol) for _ in range(2)) == ["not_found"] * 2


async def test_readers_far_apart_get_a_full_page_each(gateway_store: Store, alice: Caller) -> None:
    """And those of another epoch, ahead or trimmed their snapshot, parsed once."""
    at = await make(gateway_store, alice, "c_1")
    drafts = [draft("c_1", str(n)) for n in range(98)]
    await gateway_store.messages.send_many(alice, "c_1", drafts)
    cursors = [Position(at.epoch, offset) for offset in (0, 9, 40, 95, 100, 101)]
    strange = [Position("old", 3), Position("", 3), Position("old", 3)]
    found = await read_all(gateway_store, alice, [*cursors, *strange, None], max_events=10)
    assert [offsets(cut) for cut in found[:5]] == [
        list(range(1, 11)),
        list(range(10, 20)),
        list(range(41, 51)),
        list(range(96, 101)),
        [],
    ]
    assert [cut.mode for cut in found] == ["tail"] * 5 + ["snapshot"] * 4 + ["fresh"]
    assert found[6] is found[8]
    assert found[6].snapshot is not None
    assert len(found[6].snapshot.messages) == 50


async def test_only_those_the_log_does_not_reach_get_a_snapshot(
    redis_server: RedisNode, alice: Caller
) -> None:
    """The others get their events, from the same call."""
    async with opened(redis_server.url) as store:
        at = await make(store, alice, "c_1")
        await store.messages.send_many(alice, "c_1", [draft("c_1", str(n)) for n in range(48)])
        log = store.keys.conversation(alice.tenant, "c_1").log
        await store.redis.execute(log, "LTRIM", log, -20, -1)
        cursors = [Position(at.epoch, offset) for offset in (10, 29, 30, 45, 50)]
        found = await read_all(store, alice, cursors)
        assert [cut.mode for cut in found] == ["snapshot"] * 2 + ["tail"] * 3
        assert [offsets(cut)[:1] for cut in found] == [[], [], [31], [46], []]
        assert offsets(found[2]) == list(range(31, 51))
        behind = [Position(at.epoch, 10), Position(at.epoch, 29)]
        assert [cut.mode for cut in await read_all(store, alice, behind)] == ["snapshot"] * 2


async def test_what_is_known_here_is_not_read_again(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """The position and the membership are; a cursor of another epoch still gets a snapshot."""
    at = await make(gateway_store, alice, "c_1")
    end = (await say(gateway_store, alice, "c_1")).position
    for cursor, events in ((Position(at.epoch, 1), []), (Position(at.epoch, 0), [1, 2, 3])):
        cut = await gateway_store.log.read(alice, "c_1", cursor, known=Position(at.epoch, 1))
        assert (cut.mode, cut.position, offsets(cut)) == ("tail", end, events)
    for cursor in (Position("old", 3), Position(at.epoch, 9)):
        cut = await gateway_store.log.read(alice, "c_1", cursor, known=Position(cursor.epoch, 0))
        assert cut.mode == "snapshot"
    with pytest.raises(NotFound):
        await gateway_store.log.read(bob, "c_1", end, known=at)
    known = gateway_store.log.read(alice, "c_1", end, known=at)
    both = await together([known, gateway_store.log.read(alice, "c_1", Position(at.epoch, 2))])
    assert [offsets(cut) for cut in both] == [[], [3]]


@pytest.mark.parametrize("cancelled", [0, 1, 2], ids=["first", "middle", "last"])
@pytest.mark.parametrize("after_ticks", range(6))
async def test_a_cancelled_reader_costs_only_themselves(
    gateway_store: Store, alice: Caller, cancelled: int, after_ticks: int
) -> None:
    """Whoever it is, at whichever moment: the others have their answer."""
    at = await make(gateway_store, alice, "c_1")
    readers = [asyncio.create_task(gateway_store.log.read(alice, "c_1", at)) for _ in range(3)]
    for _ in range(after_ticks):
        await asyncio.sleep(0)
    readers[cancelled].cancel()
    done = await asyncio.gather(*readers, return_exceptions=True)
    for number, outcome in enumerate(done):
        if number == cancelled and isinstance(outcome, asyncio.CancelledError):
            continue
        assert outcome.position == at


async def test_when_all_but_the_last_are_cancelled_one_after_the_other(
    gateway_store: Store, alice: Caller
) -> None:
    """The lead is handed on each time."""
    at = await make(gateway_store, alice, "c_1")
    readers = [asyncio.create_task(gateway_store.log.read(alice, "c_1", at)) for _ in range(5)]
    for reader in readers[:-1]:
        await asyncio.sleep(0)
        reader.cancel()
    assert (await readers[-1]).position == at
    assert not gateway_store.log._reads._joinable


async def test_a_failing_call_fails_all_its_readers(own_redis: OwnRedis, alice: Caller) -> None:
    """Each with an error of their own."""
    redis = await own_redis()
    async with opened(redis.url, redis_reconnect_s=0.01) as store:
        at = await make(store, alice, "c_1")
        redis.kill()
        readers = [asyncio.create_task(store.log.read(alice, "c_1", at)) for _ in range(3)]
        failed = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(exc, StoreUnavailable) for exc in failed)
        assert len({id(exc) for exc in failed}) == 3
        assert len({str(exc) for exc in failed}) == 1


async def test_more_readers_than_a_call_takes_are_split(own_redis: OwnRedis, alice: Caller) -> None:
    """Nobody is left out."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        at = await make(store, alice, "c_1")
        await store.log.read(alice, "c_1", None)
        await redis.call("CONFIG", "RESETSTAT")
        found = await read_all(store, alice, [at] * (2 * MAX_READERS + 1))
        assert await calls_made(redis) == 3
    assert {cut.position for cut in found} == {at}


@pytest.mark.parametrize(("size", "most"), [(200, 256), (5_000, 56), (60_000, 6)])
async def test_a_page_is_bounded_in_bytes(
    own_redis: OwnRedis, alice: Caller, size: int, most: int
) -> None:
    """256 events of 64 KB would be 16 MB for each who reads; page after page, all come."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        at = await make(store, alice, "c_1")
        drafts = [draft("c_1", str(n), "x" * size) for n in range(300)]
        for start in range(0, 300, 50):
            await store.messages.send_many(alice, "c_1", drafts[start : start + 50])
        position, pages, found = Position(at.epoch, 0), 0, list[int]()
        while position.offset < 302:
            await redis.call("CONFIG", "RESETSTAT")
            cut = await store.log.read(alice, "c_1", position)
            position, pages = Position(at.epoch, offsets(cut)[-1]), pages + 1
            found += offsets(cut)
            assert len(cut.events) <= most + 2
            assert sum(len(event.event.data) for event in cut.events) <= 270_000 + size
            stats = await redis.info("commandstats")
            assert int(stats["cmdstat_lrange"].split("calls=")[1].split(",")[0]) <= 8
        assert found == list(range(1, 303))
        assert pages <= 302 / (most * 0.8) + 2


async def test_readers_of_large_events_all_come_to_the_end(
    own_redis: OwnRedis, alice: Caller
) -> None:
    """The page of the one who stands lowest may end before the others' cursors: they ask again."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        at = await make(store, alice, "c_1")
        for start in range(0, 60, 20):
            drafts = [draft("c_1", str(start + n), "x" * 60_000) for n in range(20)]
            await store.messages.send_many(alice, "c_1", drafts)
        places, rounds = [0, 10, 30, 59], 0
        while min(places) < 62:
            rounds += 1
            assert rounds < 30
            cursors = [Position(at.epoch, place) for place in places]
            cuts = await read_all(store, alice, cursors)
            for n, cut in enumerate(cuts):
                assert offsets(cut)[:1] in ([], [places[n] + 1])
                places[n] += len(cut.events)
