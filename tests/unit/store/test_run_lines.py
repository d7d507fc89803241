"""Runs that wait for a worker: taken in turn, by tenant and subject, whatever waits with them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.errors import TooManyRuns
from gateway.identity.caller import Caller
from gateway.store.keys import shard_of
from gateway.store.run_lines import Line
from gateway.store.runs import Ending, RunRequest
from gateway.tasks import together
from tests.support.claims import claim_in
from tests.support.stores import draft, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

SHARD = 7
ENDING = Ending("success", b'{"type":"RUN_FINISHED"}', "complete")


@asynccontextmanager
async def on_its_own(
    own_redis: OwnRedis, **settings: Any
) -> AsyncIterator[tuple[Store, RedisNode]]:
    """Yield a store on a Redis that nobody else uses."""
    redis = await own_redis()
    async with opened(redis.url, **settings) as store:
        yield store, redis


def names(tenant: str) -> Any:
    """Yield ids of conversations of one shard."""
    number = 0
    while True:
        number += 1
        if shard_of("c", tenant, f"c_{number}") == f"{{s{SHARD:02d}}}":
            yield f"c_{number}"


async def ask(
    store: Store, tenant: str, subject: str, conversation: str, said: str = "1", **run: Any
) -> str:
    """Send a message that starts a run; return its id."""
    run_id = f"r_{tenant}_{conversation}_{said}"
    request = RunRequest(run_id, run.pop("agent", "demo"), f"m_reply{said}", **run)
    message = replace(draft(conversation, said, may_create=True), run=request)
    await store.messages.send(Caller(tenant, subject), message)
    return run_id


async def fill(store: Store, tenant: str, subject: str, count: int, **run: Any) -> None:
    """Have so many conversations of one subject with a run that waits."""
    ids = names(f"{tenant}")
    taken = [next(ids) for _ in range(count)]
    await together(
        ask(store, tenant, subject, f"{name}", f"{subject[:8]}", **run) for name in taken
    )


async def claims(store: Store, count: int) -> list[str]:
    """Take so many runs, each the one whose turn it is; return whose they were."""
    found = []
    for _ in range(count):
        look = await store.lines.look(SHARD, ["demo"])
        taken = await store.lines.claim(SHARD, ["demo"], look.lines[0])
        assert taken.claim is not None
        found.append(":".join(look.lines[0]))
    return found


async def test_tenants_take_turns_and_so_do_their_subjects(own_redis: OwnRedis) -> None:
    """Whoever has more runs has no more turns; names that begin alike are different subjects."""
    async with on_its_own(own_redis) as (store, _):
        ids = {tenant: names(tenant) for tenant in ("acme", "ac", "zoo")}
        for tenant, subject, count in [
            ("acme", "bob", 6),
            ("acme", "bob1", 2),
            ("acme", "a:b/ü", 2),
            ("ac", "x", 3),
            ("zoo", "y", 1),
        ]:
            for _ in range(count):
                await ask(store, tenant, subject, next(ids[tenant]))
        order = await claims(store, 14)
        assert order[:9] == [
            "ac:x", "acme:a%3Ab%2F%C3%BC", "zoo:y",
            "ac:x", "acme:bob1",
            "ac:x", "acme:bob",
            "acme:a%3Ab%2F%C3%BC", "acme:bob1",
        ]  # fmt: skip
        assert order[9:] == ["acme:bob"] * 5
        assert await claim_in(store, SHARD, ["demo"]) is None


async def test_runs_of_one_subject_are_taken_oldest_first(own_redis: OwnRedis) -> None:
    """One that was given back is first again."""
    async with on_its_own(own_redis) as (store, redis):
        ids = names("t")
        asked = []
        for _ in range(4):
            asked.append(await ask(store, "t", "alice", next(ids)))
            now = await redis.call("TIME")
            while (await redis.call("TIME"))[1][:3] == now[1][:3]:  # the next millisecond
                pass
        first = await claim_in(store, SHARD, ["demo"])
        assert first is not None
        attempt = await store.runs.begin(first)
        assert attempt is not None
        await store.runs.give_back(attempt)
        order = [await claim_in(store, SHARD, ["demo"]) for _ in range(4)]
        assert [claim.name.run_id for claim in order if claim] == asked


async def test_those_who_are_full_take_nobody_elses_place(own_redis: OwnRedis) -> None:
    """Of 40 tenants and 40 subjects that may have no more here, all the others are found."""
    async with on_its_own(own_redis) as (store, _):
        for number in range(40):
            await fill(store, f"a{number}", "x", 1)
            await ask(store, "b", f"s{number}", f"c_b{number}")
        shard = int(shard_of("c", "b", "c_b0")[2:4])
        full = [f"a{number}" for number in range(40)]
        await fill(store, "zz", "last", 1)
        found = await store.lines.look(SHARD, ["demo"], full=full)
        assert Line("zz", "last") in found.lines
        busy = [f"b:s{number}" for number in range(40) if number != 0]
        found = await store.lines.look(shard, ["demo"], full=busy)
        assert Line("b", "s0") in found.lines


async def test_a_run_of_an_agent_that_is_lacking_hides_no_other(own_redis: OwnRedis) -> None:
    """Of the same subject or of others; each look goes on where the last one stopped."""
    async with on_its_own(own_redis) as (store, _):
        await fill(store, "t", "alice", 30, agent="another")
        ids = names("t")
        for _ in range(30):
            next(ids)
        own = await ask(store, "t", "alice", next(ids))
        claim = await claim_in(store, SHARD, ["demo"])
        while claim is not None and claim.name.run_id != own:
            claim = await claim_in(store, SHARD, ["demo"])
        assert claim is not None
        assert await claim_in(store, SHARD, ["demo"]) is None
        assert await claim_in(store, SHARD, ["another"]) is not None


async def test_what_a_look_costs_does_not_grow_with_the_line(own_redis: OwnRedis) -> None:
    """With 1 run in the line and with 900: as many commands of Redis."""
    async with on_its_own(own_redis) as (store, redis):

        async def commands_of_a_claim() -> int:
            await redis.call("CONFIG", "RESETSTAT")
            assert await claim_in(store, SHARD, ["demo"]) is not None
            stats = await redis.info("commandstats")
            return sum(int(line.split("calls=")[1].split(",")[0]) for line in stats.values())

        await fill(store, "t", "alice", 2)
        few = await commands_of_a_claim()
        await fill(store, "t", "alice", 900)
        assert await commands_of_a_claim() <= few + 2


async def test_what_an_earlier_version_made_ready_is_taken_too(own_redis: OwnRedis) -> None:
    """From its own list, whoever recorded the run; a name whose run has ended is dropped."""
    async with on_its_own(own_redis) as (store, redis):
        ids = names("t")
        asked = [await ask(store, "t", "alice", next(ids)) for _ in range(2)]
        line, leased, _, ready, _ = store.keys.queue(SHARD).values()
        (key,) = await redis.call("KEYS", f"*:run:{asked[0]}")
        await redis.call("HDEL", key, "by", "since")
        await redis.call("DEL", line)
        for run_id in (*asked, "r_never"):
            conversation = run_id.removeprefix("r_t_").removesuffix("_1")
            await redis.call("RPUSH", ready, f"t:{conversation}:{run_id}")
        found = [await claim_in(store, SHARD, ["demo"]) for _ in range(2)]
        assert {claim.name.run_id for claim in found if claim} == set(asked)
        assert await claim_in(store, SHARD, ["demo"]) is None
        assert await redis.call("EXISTS", ready, line) == 0
        for claim in found:
            attempt = await store.runs.begin(claim)
            await store.runs.finish(attempt, ENDING, last_batch=0)
        assert await redis.call("EXISTS", leased, line) == 0


async def test_a_tenant_and_a_subject_have_so_many_open_runs_in_a_shard(
    own_redis: OwnRedis,
) -> None:
    """Waiting or going on; refused whole; another has room until the tenant is full."""
    limits = {"open_runs_per_subject": 3, "open_runs_per_tenant": 5}
    async with on_its_own(own_redis, **limits) as (store, redis):
        ids = names("t")
        asked = [await ask(store, "t", "alice", next(ids)) for _ in range(3)]
        claim = await claim_in(store, SHARD, ["demo"])
        assert claim is not None
        attempt = await store.runs.begin(claim)
        assert attempt is not None
        conversation = next(ids)
        before = await redis.call("DBSIZE")
        with pytest.raises(TooManyRuns) as refused:
            await ask(store, "t", "alice", conversation)
        assert refused.value.details == {"of": "subject", "limit": 3}
        assert await redis.call("DBSIZE") == before
        for _ in range(2):
            await ask(store, "t", "alice2", next(ids))
        with pytest.raises(TooManyRuns) as refused:
            await ask(store, "t", "bob", conversation)
        assert refused.value.details == {"of": "tenant", "limit": 5}
        await ask(store, "another", "alice", next(names("another")))
        await store.runs.finish(attempt, ENDING, last_batch=0)
        assert claim.name.run_id in asked
        await ask(store, "t", "bob", conversation)


async def test_runs_that_an_earlier_version_ended_do_not_count_for_ever(
    own_redis: OwnRedis,
) -> None:
    """It does not know that they are counted: they are struck off when there is no room."""
    async with on_its_own(own_redis, open_runs_per_subject=40) as (store, redis):
        await fill(store, "t", "alice", 40)
        for key in await redis.call("KEYS", "*:run:*"):
            await redis.call("HSET", key, "status", "success")
        ids = names("t")
        for _ in range(40):
            next(ids)
        await ask(store, "t", "alice", next(ids))
