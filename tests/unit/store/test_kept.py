"""What is kept of agent contexts and tool calls: bounded in bytes, and written once."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.errors import NotFound
from gateway.identity.caller import Caller
from gateway.protocol.messages import Position
from gateway.store.contexts import ContextChange
from gateway.store.runs import Change, RunRequest
from tests.support.claims import claim_any
from tests.support.stores import draft, make, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store.runs import Attempt
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

ALICE = Caller("t", "alice")
EVENT = b'{"type":"X"}'
MIB = 1_048_576


@asynccontextmanager
async def of_its_own(own_redis: OwnRedis) -> AsyncIterator[tuple[Store, RedisNode]]:
    """Yield a store on a Redis that nobody else uses, with the conversation `c_1`."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await make(store, ALICE, "c_1")
        yield store, redis


async def begun(store: Store) -> Attempt:
    """Begin a run in `c_1`."""
    run = RunRequest("r_1", "demo", "m_reply")
    await store.messages.send(ALICE, replace(draft("c_1"), run=run))
    claim = await claim_any(store, ["demo"])
    assert claim is not None
    attempt = await store.runs.begin(claim)
    assert attempt is not None
    return attempt


async def call(store: Store, attempt: Attempt, number: int, size: int) -> None:
    """Have the run call a tool whose result has so many bytes."""
    name, result = b"t_%d" % number, msgspec.json.encode("r" * size)
    changes = [
        Change("open_tool", EVENT, name, b'{"toolCallId":"%b"' % name),
        Change("end_tool", EVENT, name, b',"result":%b}' % result, result),
    ]
    await store.runs.extend(attempt, number, changes, version=None)


async def size_of(redis: RedisNode, kind: str) -> int:
    """Return the bytes of a key of the conversation, all of its fields measured."""
    (key,) = await redis.call("KEYS", f"*:c_1:{kind}")
    found = await redis.call("MEMORY", "USAGE", key, "SAMPLES", 0)
    assert isinstance(found, int)
    return found


def remembering(version: int, size: int) -> ContextChange:
    """Change a context of so many bytes."""
    document: dict[str, Any] = {"memory": {"n": version + 1, "x": "x" * size}, "workflow": {}}
    return ContextChange(version, document, [])


async def test_one_more_tool_call_reads_and_writes_none_of_those_before(
    own_redis: OwnRedis,
) -> None:
    """50 of 8 KiB: what Redis does for the last one is what it did for the second."""
    async with of_its_own(own_redis) as (store, redis):
        await store.contexts.set(ALICE, "c_1", remembering(0, 100_000))
        attempt = await begun(store)
        for number in range(1, 50):
            await call(store, attempt, number, 8192)
        await redis.call("CONFIG", "RESETSTAT")
        before = [await size_of(redis, kind) for kind in ("context", "versions")]
        await call(store, attempt, 50, 8192)
        stats = await redis.info("commandstats")
        assert "cmdstat_lrange" not in stats
        after = [await size_of(redis, kind) for kind in ("context", "versions")]
        assert all(now - then < 1024 for now, then in zip(after, before, strict=True))
        assert sum(after) < 2 * 100_000 + 100_000
        kept = (await store.contexts.get(ALICE, "c_1")).tool_calls.value()
        assert [one["toolCallId"] for one in kept] == [f"t_{n}" for n in range(1, 51)]
        cut = await store.log.read(ALICE, "c_1", Position("gone", 1))
        assert cut.snapshot is not None
        assert cut.snapshot.context.tool_calls.value() == kept


async def test_kept_tool_calls_have_512_kib_together(own_redis: OwnRedis) -> None:
    """The oldest go; the newest stays, whatever it has."""
    async with of_its_own(own_redis) as (store, redis):
        attempt = await begun(store)
        for number in range(1, 12):
            await call(store, attempt, number, 100_000)
        kept = (await store.contexts.get(ALICE, "c_1")).tool_calls.value()
        assert [one["toolCallId"] for one in kept] == [f"t_{n}" for n in range(7, 12)]
        assert await size_of(redis, "tools") < 600_000
        await call(store, attempt, 12, 700_000)
        kept = (await store.contexts.get(ALICE, "c_1")).tool_calls.value()
        assert [one["toolCallId"] for one in kept] == ["t_12"]


async def test_tool_calls_of_an_earlier_version_are_shown_and_counted(own_redis: OwnRedis) -> None:
    """It kept a list, and all of them once more as one text; what is added meanwhile counts."""
    async with of_its_own(own_redis) as (store, redis):
        base = store.keys.conversation("t", "c_1").base
        record = '{"toolCallId":"old","result":"%s"}' % ("r" * 300_000)
        await redis.call("HSET", f"{base}:context", "tool_calls", f"[{record},{record}]")
        kept = (await store.contexts.get(ALICE, "c_1")).tool_calls.value()
        assert [one["toolCallId"] for one in kept] == ["old", "old"]
        await redis.call("RPUSH", f"{base}:tools", record, record)
        attempt = await begun(store)
        await call(store, attempt, 1, 10)
        await redis.call("RPUSH", f"{base}:tools", record)
        await call(store, attempt, 2, 10)
        kept = (await store.contexts.get(ALICE, "c_1")).tool_calls.value()
        assert [one["toolCallId"] for one in kept] == ["t_1", "old", "t_2"]
        assert await redis.call("HEXISTS", f"{base}:context", "tool_calls") == 0


async def test_versions_have_4_mib_together(own_redis: OwnRedis) -> None:
    """The oldest cannot be had any more, which is told; the newest always can."""
    async with of_its_own(own_redis) as (store, redis):
        for version in range(30):
            await store.contexts.set(ALICE, "c_1", remembering(version, 250_000))
        assert await size_of(redis, "versions") < 6 * MIB  # of an allocator that rounds up
        found = await store.contexts.versions(ALICE, "c_1", limit=50)
        assert [one.version for one in found] == list(range(30, 14, -1))
        document = await store.contexts.document_at(ALICE, "c_1", 15)
        assert document["memory"]["n"] == 15
        with pytest.raises(NotFound, match="version 14 does not exist any more"):
            await store.contexts.document_at(ALICE, "c_1", 14)
        await store.contexts.set(ALICE, "c_1", remembering(30, 5 * MIB))
        assert [one.version for one in await store.contexts.versions(ALICE, "c_1", limit=9)] == [31]


async def test_versions_of_tool_calls_are_those_of_the_memory_then(own_redis: OwnRedis) -> None:
    """Each can be had as long as it is kept, and takes no room of its own."""
    async with of_its_own(own_redis) as (store, redis):
        attempt = await begun(store)
        await call(store, attempt, 1, 10)  # version 1, before there is any memory
        assert await store.contexts.document_at(ALICE, "c_1", 1) == {"memory": {}, "workflow": {}}
        await store.contexts.set(ALICE, "c_1", remembering(1, 100_000))
        for number in range(2, 50):
            await call(store, attempt, number, 10)
        assert await size_of(redis, "versions") < 200_000
        await store.contexts.set(ALICE, "c_1", remembering(50, 10))
        for version, n in ((2, 2), (3, 2), (50, 2), (51, 51)):
            document = await store.contexts.document_at(ALICE, "c_1", version)
            assert document["memory"]["n"] == n
        for number in range(50, 98):
            await call(store, attempt, number, 10)
        assert (await store.contexts.document_at(ALICE, "c_1", 50))["memory"]["n"] == 2
        await call(store, attempt, 98, 10)
        with pytest.raises(NotFound):
            await store.contexts.document_at(ALICE, "c_1", 50)
        assert await size_of(redis, "versions") < 20_000


async def test_versions_that_an_earlier_version_wrote_are_counted(own_redis: OwnRedis) -> None:
    """With a record each, and without a count; also between two that do count."""
    async with of_its_own(own_redis) as (store, redis):
        base = store.keys.conversation("t", "c_1").base
        record = '{"memory":{"x":"%s"},"workflow":{}}' % ("x" * 300_000)

        async def as_an_earlier_version(version: int) -> None:
            await redis.call("HSET", f"{base}:context", "version", version)
            await redis.call("HSET", f"{base}:versions", version, record, f"by:{version}", "1:x")

        for version in range(1, 31):
            await as_an_earlier_version(version)
        await store.contexts.set(ALICE, "c_1", remembering(30, 10))
        assert await size_of(redis, "versions") < 6 * MIB
        for version in range(32, 50):
            await as_an_earlier_version(version)
        await store.contexts.set(ALICE, "c_1", remembering(49, 10))
        assert await size_of(redis, "versions") < 6 * MIB
        assert (await store.contexts.document_at(ALICE, "c_1", 50))["memory"]["n"] == 50
