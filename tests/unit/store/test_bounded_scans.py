"""What one request costs Redis, however much a hostile tenant has piled up: commands and entries.

Counted by the server (INFO commandstats) and by the sizes of replies, never by time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.errors import NotFound
from gateway.identity.caller import Caller
from gateway.protocol.messages import Position
from gateway.store import pages
from gateway.tasks import together
from tests.support.stores import draft, make, opened, say
from tests.unit.store.test_messages_store import seqs
from tests.unit.store.test_sessions import Device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store.messages import Page
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

LOOKS = 40  # at the history, of one script (lua/pages.lua), which asks once how long it is (LLEN)


class Counted:
    """A store on a Redis of its own, whose commands are counted."""

    def __init__(self, store: Store, redis: RedisNode) -> None:
        self.store = store
        self.redis = redis

    async def reset(self) -> None:
        """Count anew."""
        await self.redis.call("CONFIG", "RESETSTAT")

    async def calls(self, command: str) -> int:
        """Return how often a command was called, by scripts too."""
        stats = await self.redis.info("commandstats")
        line = stats.get(f"cmdstat_{command}", "calls=0,")
        return int(line.split("calls=")[1].split(",")[0])

    async def deleted_by_an_earlier_version(self, caller: Caller, count: int) -> None:
        """Put deleted messages at the end of the history, of which nothing is noted."""
        base = self.store.keys.conversation(caller.tenant, "c_1").base
        for begin in range(0, count, 1000):
            blank = [""] * min(1000, count - begin)
            await self.redis.call("RPUSH", f"{base}:history", *blank)
        await self.redis.call("HINCRBY", base, "seq", count)

    async def deleted_in_the_middle(self, caller: Caller, count: int) -> None:
        """Make a conversation of a message, so many deleted ones, and a message."""
        await make(self.store, caller, "c_1")
        await say(self.store, caller, "c_1", "first")
        await self.deleted_by_an_earlier_version(caller, count)
        await say(self.store, caller, "c_1", "last")


@pytest.fixture
async def counted(own_redis: OwnRedis) -> AsyncIterator[Counted]:
    """Yield a store whose commands are counted."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        yield Counted(store, redis)


async def test_deleted_messages_cost_a_page_nothing(counted: Counted, alice: Caller) -> None:
    """Five hundred deleted ones in a row are one step."""
    store = counted.store
    await make(store, alice, "c_1")
    await store.messages.send_many(alice, "c_1", [draft("c_1", str(n)) for n in range(502)])
    await together(store.messages.delete(alice, "c_1", f"m_{n}") for n in range(1, 501))
    await counted.reset()
    page = await store.messages.page(alice, "c_1", limit=50)
    assert seqs(page) == [1, 502]
    assert not page.has_more
    assert await counted.calls("llen") == 1
    assert await counted.calls("lrange") <= 3
    page = await store.messages.page(alice, "c_1", limit=50, after=1)
    assert seqs(page) == [502]
    assert await counted.calls("lrange") <= 6


@pytest.mark.parametrize("way", ["newest", "after"])
async def test_what_earlier_versions_deleted_costs_once(
    counted: Counted, alice: Caller, way: str
) -> None:
    """It is noted when a page comes across it; each script looks at a bounded part of it."""
    store = counted.store
    await counted.deleted_in_the_middle(alice, 30_000)
    asked = {"limit": 50} | ({"after": 1} if way == "after" else {})
    expected = [30_002] if way == "after" else [1, 30_002]

    async def read() -> Page:
        """Read as a client does, from page to page, until there is no more."""
        page = await store.messages.page(alice, "c_1", **asked)
        found = seqs(page)
        while page.has_more:
            on = {"after" if way == "after" else "before": page.next_seq}
            page = await store.messages.page(alice, "c_1", limit=50, **on)
            found = seqs(page) + found
        assert found == expected
        return page

    await counted.reset()
    await read()
    scripts, looks = await counted.calls("llen"), await counted.calls("lrange")
    assert 3 <= scripts <= 6
    assert looks <= LOOKS * scripts
    await counted.reset()
    await read()
    assert await counted.calls("llen") == 1
    assert await counted.calls("lrange") <= 5


async def test_a_client_that_knows_nothing_of_deleted_ones_gets_past_them(
    counted: Counted, alice: Caller
) -> None:
    """It goes on at the last message of a page: no page is empty while there is more."""
    store = counted.store
    await counted.deleted_in_the_middle(alice, 30_000)
    page = await store.messages.page(alice, "c_1", limit=1)
    found = seqs(page)
    while page.has_more:
        page = await store.messages.page(alice, "c_1", limit=1, before=found[-1])
        assert page.messages
        found += seqs(page)
    assert found == [30_002, 1]


@pytest.mark.parametrize("alive", [2, 17, 40])
async def test_every_so_many_messages_one_is_deleted(
    counted: Counted, alice: Caller, alive: int
) -> None:
    """Holes all over are stepped over too; a page ends where a script has looked enough."""
    store, count = counted.store, 400
    await make(store, alice, "c_1")
    for begin in range(0, count, 200):
        drafts = [draft("c_1", str(n)) for n in range(begin + 1, begin + 201)]
        await store.messages.send_many(alice, "c_1", drafts)
    gone = [n for n in range(1, count + 1) if n % alive]
    await together(store.messages.delete(alice, "c_1", f"m_{n}") for n in gone)
    left = [n for n in range(1, count + 1) if not n % alive]
    found: list[int] = []
    before = None
    while True:
        await counted.reset()
        page = await store.messages.page(alice, "c_1", limit=200, before=before)
        assert await counted.calls("lrange") <= LOOKS
        found[:0] = seqs(page)
        before = page.next_seq
        if before is None:
            break
    assert found == left


async def test_a_page_has_no_more_bytes_than_a_frame(counted: Counted, alice: Caller) -> None:
    """Redis does not read 13 MB for a page of 200 large messages, nor for a snapshot."""
    store, large = counted.store, "x" * 60_000
    at = await make(store, alice, "c_1")
    await together(say(store, alice, "c_1", str(n), large) for n in range(60))
    await counted.reset()
    page = await store.messages.page(alice, "c_1", limit=200)
    assert seqs(page) == [57, 58, 59, 60]
    sent = int((await counted.redis.info("stats"))["total_net_output_bytes"])
    assert sent < 400_000
    assert await counted.calls("lrange") == 1
    cut = await store.log.read(alice, "c_1", Position("other", 0))
    assert cut.snapshot is not None
    assert len(cut.snapshot.messages) == 4
    assert cut.snapshot.has_more
    assert at.offset == 2


async def test_a_restore_reads_as_many_bytes_as_go_out_at_once(
    counted: Counted, alice: Caller
) -> None:
    """Events are paged by bytes as well; readers elsewhere in the log lose nothing by that."""
    store, large = counted.store, "x" * 60_000
    at = await make(store, alice, "c_1")
    await together(say(store, alice, "c_1", str(n), large) for n in range(150))
    cut = await store.log.read(alice, "c_1", at)
    assert [event.offset for event in cut.events] == [3, 4, 5, 6, 7]
    cursors = [Position(at.epoch, offset) for offset in (2, 70, 80, 140)]
    cuts = await together(store.log.read(alice, "c_1", cursor) for cursor in cursors)
    for cursor, cut in zip(cursors, cuts, strict=True):
        assert cut.events[0].offset == cursor.offset + 1
        assert (cut.mode, cut.position.offset) == ("tail", 152)


async def test_a_search_looks_at_a_bounded_number_of_bytes_and_says_so(
    counted: Counted, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices; it can be gone on with where it stopped."""
    monkeypatch.setattr(pages, "SEARCH_BYTES", 1_000_000)
    store, large = counted.store, "x" * 60_000
    await make(store, alice, "c_1")
    await say(store, alice, "c_1", "wanted", "the needle")
    for begin in range(0, 40, 20):
        some = range(begin, begin + 20)
        await together(say(store, alice, "c_1", str(n), large) for n in some)
    await counted.reset()
    found = await store.messages.search(alice, "c_1", "needle", limit=5)
    assert found.messages == []
    sent = int((await counted.redis.info("stats"))["total_net_output_bytes"])
    assert sent < 1_500_000
    assert await counted.calls("llen") >= 4
    tries = 0
    while not found.messages:
        found = await store.messages.search(alice, "c_1", "needle", limit=5, before=found.next_seq)
        tries += 1
    assert 1 <= tries <= 3
    assert found.next_seq is None


async def test_a_session_keeps_a_bounded_number_of_conversations(
    counted: Counted, alice: Caller
) -> None:
    """Resuming again and again with a thousand new names does not fill it without end."""
    store = counted.store
    device = Device(store, alice, Clock())
    session = await device.open()
    for number in range(8):
        names = {f"c_{number}_{n}": Position("x", n) for n in range(1000)}
        asked = await device.attempt(session.session_id, session.token)
        session = await device.connect(replace(asked, cursors=names))
        assert await device.use(session)
        assert set(names) <= set(session.cursors)
    assert len(await device.stored(session.session_id)) < 4096


async def test_a_search_by_a_stranger_looks_at_nothing(counted: Counted, alice: Caller) -> None:
    """It costs a script that finds out that they take no part."""
    await counted.deleted_in_the_middle(alice, 1000)
    stranger = Caller(alice.tenant, "mallory")
    await counted.reset()
    with pytest.raises(NotFound):
        await counted.store.messages.search(stranger, "c_1", "x", limit=5)
    assert await counted.calls("lrange") == 0
