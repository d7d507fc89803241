"""Two workers, one run, and a Redis that forgets: what the scripts themselves refuse."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.clock import Clock
from gateway.identity.caller import Caller
from gateway.settings import load_settings
from gateway.store.keys import SHARDS
from gateway.store.messages import Draft
from gateway.store.runs import Change, Ending, LeaseLost, RunRequest
from gateway.store.store import Store
from tests.support.claims import claim_any, claim_in
from tests.support.eventually import eventually, passing
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store.run_lines import Claim
    from gateway.store.runs import Attempt
    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

LEASE_S = 0.4
TENANT, CONVERSATION = "default", "c_race"
ALICE = Caller(TENANT, "alice")
RUN_KEY = f"*:c:{CONVERSATION}:run:r_1"


@asynccontextmanager
async def opened(port: int, *, run_lease_s: float = LEASE_S) -> AsyncIterator[Store]:
    """Open a store, as one worker has it."""
    settings = load_settings({}, redis_timeout_s=0.5, run_lease_s=run_lease_s)
    store = Store(settings, f"redis://127.0.0.1:{port}", clock=Clock())
    try:
        yield store
    finally:
        store.close()


async def accept(store: Store, number: int = 1) -> None:
    """Accept a message that starts the run `r_<number>`."""
    run = RunRequest(f"r_{number}", "demo", f"m_reply{number}")
    draft = Draft(CONVERSATION, f"m_{number}", f"{number}", "hello", may_create=True, run=run)
    await store.messages.send(ALICE, draft)


async def claimed(store: Store) -> Claim:
    """Claim the one run that is there to be claimed."""
    return await eventually(lambda: claim_any(store, ["demo"]), what="a run to claim")


async def begun(store: Store) -> Attempt:
    """Claim and begin it."""
    attempt = await store.runs.begin(await claimed(store))
    assert attempt is not None
    return attempt


def saying(text: str) -> list[Change]:
    """Return a batch that says something."""
    inside = msgspec.json.encode(text)[1:-1]
    event = b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"%b"}' % inside
    return [Change("text", event, inside)]


ENDING = Ending("success", b'{"type":"RUN_FINISHED","runId":"r_1"}', "complete")


async def field(redis: RedisNode, name: str) -> object:
    """Return a field of the run."""
    (key,) = await redis.call("KEYS", RUN_KEY)
    return await redis.call("HGET", key, name)


async def test_begin_whose_reply_is_lost_is_one_attempt(own_redis: OwnRedis) -> None:
    """Repeated, it is the same attempt: an agent that may not be repeated does not fail for it."""
    redis = await own_redis()
    async with Proxy(redis.port) as link, opened(link.port) as store:
        await accept(store, 2)  # so that Redis knows the scripts
        await store.runs.finish(await begun(store), ENDING, last_batch=0)
        await accept(store)
        claim = await claimed(store)
        link.swallow_replies()
        beginning = asyncio.create_task(store.runs.begin(claim))

        async def has_begun() -> bool:
            return await field(redis, "status") == "running"

        await eventually(has_begun, what="it has begun")
        link.heal()
        await link.cut()
        attempt = await beginning
        assert attempt is not None
        assert attempt.number == 1
        await store.runs.extend(attempt, 1, saying("x"), version=None)


async def test_late_begin_does_not_take_the_run_from_who_claimed_it_since(
    own_redis: OwnRedis,
) -> None:
    """Paused between claim and begin for longer than the lease: the run is another's."""
    redis = await own_redis()
    async with opened(redis.port) as slow, opened(redis.port) as quick:
        await accept(slow)
        old = await claimed(slow)
        attempt = await begun(quick)
        assert await slow.runs.begin(old) is None
        await quick.runs.extend(attempt, 1, saying("mine"), version=None)
        assert attempt.number == 1


async def test_claim_that_is_never_begun_is_claimed_again(own_redis: OwnRedis) -> None:
    """Its worker died at once; the run waits a lease, and is still at its first attempt."""
    redis = await own_redis()
    async with opened(redis.port) as store:
        await accept(store)
        await claimed(store)
        assert (await begun(store)).number == 1


async def test_run_of_an_agent_that_a_worker_lacks_is_left_to_others(own_redis: OwnRedis) -> None:
    """It holds up no run behind it, and who has the agent finds it."""
    redis = await own_redis()
    async with opened(redis.port) as store:
        await accept(store)
        assert await claim_any(store, ["another"]) is None
        assert (await begun(store)).number == 1


async def test_writes_of_an_attempt_that_was_taken_over_are_refused(own_redis: OwnRedis) -> None:
    """Append, renew, finish and give back: all without any effect."""
    redis = await own_redis()
    async with opened(redis.port) as store:
        await accept(store)
        old = await begun(store)
        await store.runs.extend(old, 1, saying("old"), version=None)
        new = await begun(store)
        assert (new.number, new.emitted) == (2, "old")
        with pytest.raises(LeaseLost):
            await store.runs.extend(old, 2, saying("late"), version=None)
        with pytest.raises(LeaseLost):
            await store.runs.finish(old, ENDING, last_batch=1)
        assert await store.runs.renew(old) is False
        await store.runs.give_back(old)
        await store.runs.extend(new, 1, saying(" new"), version=None)
        await store.runs.finish(new, ENDING, last_batch=1)
        await store.runs.finish(new, ENDING, last_batch=1)  # a repeat whose reply was lost
        with pytest.raises(LeaseLost):
            await store.runs.finish(old, ENDING, last_batch=1)
        page = await store.messages.page(ALICE, CONVERSATION, limit=10)
        assert [message.value()["content"] for message in page.messages] == ["hello", "old new"]


async def test_batch_is_applied_once_and_only_after_the_one_before(own_redis: OwnRedis) -> None:
    """A repeat changes nothing; after a batch that Redis lost, nothing more is taken."""
    redis = await own_redis()
    async with opened(redis.port, run_lease_s=30) as store:
        await accept(store)
        attempt = await begun(store)
        for _ in range(3):
            await store.runs.extend(attempt, 1, saying("a"), version=None)
        with pytest.raises(LeaseLost):
            await store.runs.extend(attempt, 3, saying("c"), version=None)
        with pytest.raises(LeaseLost):
            await store.runs.finish(attempt, ENDING, last_batch=2)
        await store.runs.finish(attempt, ENDING, last_batch=1)
        page = await store.messages.page(ALICE, CONVERSATION, limit=10)
        assert page.messages[-1].value()["content"] == "a"


async def test_cancel_between_claim_and_begin(own_redis: OwnRedis) -> None:
    """The run has ended: there is nothing to begin, and the next one gets its turn."""
    redis = await own_redis()
    async with opened(redis.port) as store:
        await accept(store, 1)
        await accept(store, 2)
        claim = await claimed(store)
        assert claim.name.run_id == "r_1"
        assert await store.runs.cancel(ALICE, CONVERSATION, "r_1") == "cancelled"
        assert await store.runs.begin(claim) is None
        assert (await begun(store)).name.run_id == "r_2"
        await passing(LEASE_S)
        assert (await claimed(store)).name.run_id == "r_2"


async def test_given_back_run_is_claimed_at_once(own_redis: OwnRedis) -> None:
    """It waits for no lease; given back twice, it is claimed once."""
    redis = await own_redis()
    async with opened(redis.port, run_lease_s=30) as store:
        await accept(store)
        attempt = await begun(store)
        await store.runs.give_back(attempt)
        await store.runs.give_back(attempt)
        again = await begun(store)
        assert again.number == 2
        assert await claim_any(store, ["demo"]) is None


async def test_run_is_always_ready_or_leased_or_waiting_or_ended(own_redis: OwnRedis) -> None:
    """Over every transition: no state is left that nothing would ever lead out of."""
    redis = await own_redis()
    async with opened(redis.port) as store:
        for number in (1, 2, 3):
            await accept(store, number)
        seen: list[str] = []
        while len(seen) < 3:
            await assert_reachable(redis)
            claim = await claimed(store)
            await assert_reachable(redis)
            attempt = await store.runs.begin(claim)
            if attempt is None:
                continue
            await assert_reachable(redis)
            await store.runs.give_back(attempt)
            await assert_reachable(redis)
            attempt = await begun(store)
            await store.runs.finish(attempt, ENDING, last_batch=0)
            await assert_reachable(redis)
            seen.append(attempt.name.run_id)
        assert seen == ["r_1", "r_2", "r_3"]
        assert await redis.call("KEYS", "*:runs:*") == []
        assert await redis.call("KEYS", "*:waiting") == []


async def assert_reachable(redis: RedisNode) -> None:
    """Check that the active run is in exactly one queue, and each other one waits or has ended."""
    (line,) = await redis.call("KEYS", "*:runs:line") or [""]
    (leased,) = await redis.call("KEYS", "*:runs:leased") or [""]
    queued = await redis.call("ZRANGE", line, 0, -1) if line else []
    queued += await redis.call("ZRANGE", leased, 0, -1) if leased else []
    (waiting,) = await redis.call("KEYS", "*:waiting") or [""]
    others = await redis.call("LRANGE", waiting, 0, -1) if waiting else []
    (base,) = await redis.call("KEYS", f"*:c:{CONVERSATION}")
    active = await redis.call("HGET", base, "active_run")
    for number in (1, 2, 3):
        run_id = f"r_{number}"
        status = await redis.call("HGET", f"{base}:run:{run_id}", "status")
        places = [name for name in queued if name.endswith(f":{run_id}")]
        if run_id == active:
            assert len(places) == 1, (run_id, status, queued)
            assert run_id not in others
        else:
            assert places == []
            assert (run_id in others) == (status == "waiting")


async def test_run_that_workers_died_with_rests_longer_each_time(own_redis: OwnRedis) -> None:
    """Then it is given up; whoever had it may say nothing more from the moment it rests."""
    redis = await own_redis()
    async with opened(redis.port) as store:
        await accept(store)
        pauses: list[float] = []

        async def has_rested() -> bool:
            for shard in range(SHARDS):
                claim = await claim_in(store, shard, ["demo"], on_put_off=pauses.append)
                assert claim is None
            return bool(pauses)

        for number in (1, 2):
            attempt = await begun(store)
            assert attempt.number == number
            pauses.clear()
            await eventually(has_rested, what="it is put off")
            with pytest.raises(LeaseLost):
                await store.runs.extend(attempt, 1, saying("late"), version=None)
            assert pauses[0] == pytest.approx(LEASE_S / 15 * 4 ** (number - 1), abs=0.002)
        await begun(store)
        await eventually(lambda: is_given_up(store), what="it is given up")
        assert await field(redis, "status") == "failed"


async def is_given_up(store: Store) -> bool:
    """Claim and begin until that gives the run up."""
    claim = await claim_any(store, ["demo"])
    if claim is None:
        return False
    assert await store.runs.begin(claim) is None
    return True
