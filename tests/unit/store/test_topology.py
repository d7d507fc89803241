"""Finding the server of a key: one, the master behind sentinels, the slot's in a cluster."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from gateway.errors import StoreError, StoreUnavailable
from gateway.store.keys import Keys
from gateway.store.redis.address import RedisUrl, parse_redis_url
from gateway.store.redis.client import Redis
from gateway.store.redis.link import ReplyError
from gateway.tasks import together
from tests.support.calm import in_calm
from tests.support.eventually import eventually
from tests.support.redis_servers import cluster, sentinels
from tests.support.scripted_server import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode
    from tests.support.redis_servers import ClusterGroup

KEYS = [f"k:{shard}" for shard in ("{s00}", "{s01}", "{s02}", "{s03}", "{s04}", "{s05}")]
FAILOVER_S = 30.0


@asynccontextmanager
async def reaching(
    url: str | RedisUrl, *, timeout_s: float = 2.0, reconnect_s: float = 2.0
) -> AsyncIterator[Redis]:
    """Yield calls by key."""
    parsed = parse_redis_url(url) if isinstance(url, str) else url
    redis = Redis(parsed, timeout_s=timeout_s, reconnect_s=reconnect_s)
    try:
        yield redis
    finally:
        redis.close()


async def failure(redis: Redis, *args: str | int, idempotent: bool = True) -> StoreError | None:
    """Return how a call on `k` fails."""
    try:
        await redis.execute("k", *args, idempotent=idempotent)
    except StoreError as exc:
        return exc
    return None


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


async def test_a_call_waits_for_a_server_that_is_restarted(own_redis: OwnRedis) -> None:
    """Not sent before, so it may be sent now: even what is not idempotent."""
    redis = await own_redis()
    async with reaching(redis.url, reconnect_s=15) as calls:
        await calls.execute("k", "SET", "k", "1")
        redis.kill()
        await eventually(
            lambda: not any(link.is_open for link in calls._links.values()), what="it is missed"
        )
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(calls.execute("k", "INCR", "k", idempotent=False))
            await redis.start()
        assert waiting.result() == 2


@pytest.mark.parametrize(("idempotent", "times"), [(True, 2), (False, 1)], ids=["is", "is not"])
async def test_only_what_is_idempotent_is_repeated_after_a_lost_reply(
    idempotent: bool,
    times: int,
) -> None:
    """What is not was sent once, and is told to be in doubt."""
    async with (
        ScriptedServer() as server,
        reaching(f"redis://{server.address}", reconnect_s=5) as calls,
    ):
        await calls.execute("k", "ECHO", "warm")
        server.is_silent = True
        call = asyncio.create_task(failure(calls, "APPEND", "x", idempotent=idempotent))
        await eventually(lambda: server.said("APPEND"), what="it has come")
        server.is_silent = False
        server.cut()
        problem = await call
        assert len(server.said("APPEND")) == times
        if idempotent:
            assert problem is None
        else:
            assert isinstance(problem, StoreUnavailable)
            assert problem.may_have_run


@in_calm
async def test_a_call_fails_after_the_time_a_request_waits(own_redis: OwnRedis) -> None:
    """Nobody listening: neither at once nor much later."""
    redis = await own_redis()
    redis.kill()
    async with reaching(redis.url, reconnect_s=0.4) as calls:
        began = now()
        problem = await failure(calls, "GET", "k")
        assert isinstance(problem, StoreUnavailable)
        assert not problem.may_have_run
        assert 0.35 < now() - began < 2.0


@in_calm
async def test_a_server_that_hangs_fails_all_callers_together(own_redis: OwnRedis) -> None:
    """Not one after the other: a hundred waiting calls wait as long as one."""
    redis = await own_redis()
    redis.pause()
    async with reaching(redis.url, timeout_s=0.3, reconnect_s=0.1) as calls:
        began = now()
        problems = await together(failure(calls, "GET", "k") for _ in range(100))
        assert all(isinstance(problem, StoreUnavailable) for problem in problems)
        assert now() - began < 3.0
        redis.resume()
        assert await failure(calls, "SET", "k", "1") is None


async def test_a_server_that_refuses_to_write_is_unavailable_at_once(own_redis: OwnRedis) -> None:
    """Out of memory: nothing was written, and waiting would not help."""
    redis = await own_redis()
    async with reaching(redis.url, reconnect_s=20) as calls:
        await redis.call("CONFIG", "SET", "maxmemory", 1)
        began = now()
        problem = await failure(calls, "SET", "k", "1")
        assert isinstance(problem, StoreUnavailable)
        assert "OOM" in str(problem)
        assert not problem.may_have_run
        assert now() - began < 5
        await redis.call("CONFIG", "SET", "maxmemory", 0)
        assert await failure(calls, "SET", "k", "1") is None


async def test_a_replica_is_asked_again_until_it_is_a_master(own_redis: OwnRedis) -> None:
    """READONLY has not run anything: the call is made again when it may."""
    master, replica = await own_redis(), await own_redis()
    await replica.call("REPLICAOF", "127.0.0.1", master.port)
    async with reaching(replica.url, reconnect_s=0.2) as calls:
        problem = await failure(calls, "SET", "k", "1", idempotent=False)
        assert isinstance(problem, StoreUnavailable)
    async with reaching(replica.url, reconnect_s=15) as calls, asyncio.TaskGroup() as group:
        waiting = group.create_task(failure(calls, "SET", "k", "1", idempotent=False))
        await replica.call("REPLICAOF", "NO", "ONE")
        assert await waiting is None


@in_calm
async def test_reads_do_not_wait_for_the_durability_of_writes(own_redis: OwnRedis) -> None:
    """With no replica a write is in doubt after its wait; what only asks is answered at once."""
    redis = await own_redis()
    async with reaching(redis.url, timeout_s=5, reconnect_s=0.1) as calls:
        calls.durability_command, calls.durability_quorum = ("WAIT", 1, 1500), 1
        await calls.execute("k", "GET", "k")
        write = asyncio.create_task(_durable_failure(calls))
        await eventually(lambda: _has(redis, "k", "1"), what="it is written")
        began = now()
        assert await calls.execute("k", "GET", "k") == b"1"
        assert now() - began < 1.0
        problem = await write
        assert problem.may_have_run


async def _durable_failure(calls: Redis) -> StoreUnavailable:
    with pytest.raises(StoreUnavailable) as caught:
        await calls.execute("k", "SET", "k", "1", durable=True)
    return caught.value


async def test_a_wrong_call_is_told_as_it_is(redis_server: RedisNode) -> None:
    """It is a bug of ours: no waiting, no repeating."""
    async with reaching(redis_server.url, reconnect_s=20) as calls:
        assert isinstance(await failure(calls, "NO_SUCH_COMMAND"), ReplyError)


@in_calm
async def test_after_close_calls_fail_at_once(redis_server: RedisNode) -> None:
    """Shutting down waits for nobody."""
    async with reaching(redis_server.url, reconnect_s=20) as calls:
        await calls.execute("k", "GET", "k")
        link = next(iter(calls._links.values()))
        pending = asyncio.create_task(failure(calls, "BLPOP", "no such list", 5))
        await asyncio.sleep(0)
        began = now()
        calls.close()
        assert isinstance(await pending, StoreUnavailable)
        assert now() - began < 1.0
        assert not link.is_open


async def test_a_failover_is_followed_behind_sentinels() -> None:
    """Writes go on at the new master; so does hearing; one dead sentinel costs a moment."""
    async with sentinels() as group:
        async with reaching(group.url, reconnect_s=FAILOVER_S) as calls:
            await calls.execute("k", "SET", "k", "before")
            old = await group.master()
            replica = next(node for node in group.nodes if node is not old)
            await eventually(lambda: _has(replica, "k", "before"), what="the replica has it")
            group.sentinels.nodes[0].pause()
            old.kill()
            assert await calls.execute("k", "SET", "k", "after") == b"OK"
            assert await replica.call("GET", "k") == "after"
            link = await calls.open_any()
            assert link.address.port == replica.port
            link.close()
        async with reaching(group.url) as fresh:
            began = now()
            assert await fresh.execute("k", "GET", "k") == b"after"
            assert now() - began < 3.0
        async with reaching(group.url.replace("/gateway", "/other"), reconnect_s=0.2) as wrong:
            problem = await failure(wrong, "GET", "k")
            assert isinstance(problem, StoreUnavailable)


async def _has(node: RedisNode, key: str, value: str) -> bool:
    return await node.call("GET", key) == value


async def test_slots_are_found_and_followed_in_a_cluster() -> None:
    """By the map, by MOVED, by ASK, and after the death of a master."""
    async with (
        cluster() as group,
        reaching(group.url, reconnect_s=FAILOVER_S) as calls,
    ):
        await together(calls.execute(key, "SET", key, key) for key in KEYS)
        assert len({(await group.node_for_key(key)).port for key in KEYS}) > 1
        await _move_slot(group, calls, KEYS[0])
        victim = await group.node_for_key(KEYS[1])
        replicas = [node for node in group.nodes if node is not victim]
        await eventually(lambda: _is_replicated(victim), what="its replica has all")
        victim.kill()
        assert await calls.execute(KEYS[1], "SET", KEYS[1], "later") == b"OK"
        assert await calls.execute(KEYS[1], "GET", KEYS[1]) == b"later"
        link = await calls.open_any()
        assert link.address.port in {node.port for node in replicas}
        link.close()
        seeds = f"redis+cluster://{victim.address},{replicas[0].address}"
        async with reaching(seeds) as fresh:
            assert await fresh.execute(KEYS[1], "GET", KEYS[1]) == b"later"
        conversation = Keys().conversation("t", "c_1").all()
        assert await calls.execute(conversation[0], "EXISTS", *conversation) == 0


async def _is_replicated(master: RedisNode) -> bool:
    return await master.call("WAIT", 1, 100) == 1


async def _move_slot(group: ClusterGroup, calls: Redis, key: str) -> None:
    slot = key_slot(key.encode())
    source = await group.node_for_slot(slot)
    target = next(node for node in group.nodes[:3] if node is not source)
    source_id, target_id = (
        await source.call("CLUSTER", "MYID"),
        await target.call("CLUSTER", "MYID"),
    )
    await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", str(source_id))
    await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", str(target_id))
    fresh_key = key + ":fresh"
    assert await calls.execute(fresh_key, "SET", fresh_key, "asked") == b"OK"
    assert await calls.execute(fresh_key, "GET", fresh_key) == b"asked"
    assert await calls.execute(key, "GET", key) == key.encode()
    await source.call("MIGRATE", "127.0.0.1", target.port, key, 0, 2000)
    for node in (target, source):
        await node.call("CLUSTER", "SETSLOT", slot, "NODE", str(target_id))
    calls._topology._stale = False  # what it knows is what it knew before
    assert await calls.execute(key, "GET", key) == key.encode()
    assert await calls.execute(fresh_key, "GET", fresh_key) == b"asked"
    assert (await calls._topology.locate(key)).port == target.port


@in_calm
async def test_nobody_of_a_cluster_answering_is_unavailable(own_redis: OwnRedis) -> None:
    """A server that is no cluster is told so; calls fail together."""
    redis = await own_redis()
    async with reaching(f"redis+cluster://{redis.address}", reconnect_s=0.1) as calls:
        problem = await failure(calls, "GET", "k")
        assert isinstance(problem, StoreUnavailable)
        assert "cluster" in str(problem)
        redis.pause()
        began = now()
        problems = await together(failure(calls, "GET", "k") for _ in range(50))
        assert all(isinstance(problem, StoreUnavailable) for problem in problems)
        assert now() - began < 6.0
