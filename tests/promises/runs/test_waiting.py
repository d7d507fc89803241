"""Runs that nobody works on: their readers know, and none blocks its conversation for ever."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.conftest import RUN_SETTINGS
from tests.support.eventually import eventually, passing
from tests.support.workers import ServingProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import OwnGateway, OwnRedis
    from tests.promises.runs.conftest import Arrive, Gateways, OwnWorker
    from tests.promises.runs.person import Person

pytestmark = pytest.mark.timeout(90)


@asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[ServingProcess]:
    """Run a gateway that executes no runs."""
    gateway = ServingProcess(folder, **(RUN_SETTINGS | settings))
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.dispose()


async def waits_for(person: Person) -> str | None:
    """Return why the conversation's run waits, as the context tells it."""
    active: dict[str, str] = (await person.context())["active_run"]
    return active.get("waits_for")


def interruptions(person: Person) -> list[Any]:
    """Return what a person was told of interrupted runs."""
    return person.told_of("run_interrupted")


async def test_run_whose_agent_no_worker_has_ends(
    own_redis: OwnRedis, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """The context says what it waits for, a log line too, at once; then it ends with `no_agent`."""
    url = (await own_redis()).url
    await own_worker(redis_url=url, agents="")
    async with serving(tmp_path / "gateway", redis_url=url, run_claim_s=3) as gateway:
        alice = await arrive(gateway)
        run_id = await alice.ask("x", agent="whole")
        after = await alice.ask("after")

        async def is_told() -> bool:
            return await waits_for(alice) == "agent"

        await eventually(is_told, what="the context says so")
        assert gateway.logs.count('"run_without_agent"') <= 1  # a worker may have said it
        run = await alice.sees_end(run_id)
        assert (run.ends[0]["type"], run.ends[0]["code"]) == ("RUN_ERROR", "no_agent")
        assert "'whole'" in run.ends[0]["message"]
        assert (await alice.sees_end(after)).text == "after"


async def test_run_without_any_worker_ends(
    own_redis: OwnRedis, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """The gateway itself ends it, and says so in its log; a worker that comes works as ever."""
    url = (await own_redis()).url
    async with serving(tmp_path / "gateway", redis_url=url, run_claim_s=1) as gateway:
        alice = await arrive(gateway)
        run_id = await alice.ask("x")
        assert await waits_for(alice) in {"worker", "agent"}
        run = await alice.sees_end(run_id)
        assert run.ends[0]["code"] == "no_agent"
        assert gateway.logs.count('"run_without_agent"') == 1
        await own_worker(redis_url=url)
        assert (await alice.sees_end(await alice.ask("after"))).text == "after"


async def test_run_that_cannot_be_looked_after_holds_up_no_other(
    own_redis: OwnRedis, arrive: Arrive, tmp_path: Path
) -> None:
    """The records of some conversations are gone: it is logged, and the others' runs end."""
    redis = await own_redis()
    async with serving(tmp_path / "gateway", redis_url=redis.url, run_claim_s=2) as gateway:
        people = [await arrive(gateway, f"person{n}") for n in range(6)]
        runs = [await person.ask("x") for person in people]
        for person in people[::2]:
            (key,) = await redis.call("KEYS", f"*:c:{person.conversation}")
            await redis.call("DEL", key)
        for person, run_id in [*zip(people, runs, strict=True)][1::2]:
            assert (await person.sees_end(run_id)).ends[0]["code"] == "no_agent"
        await eventually(lambda: "run_check_failed" in gateway.logs, what="it is logged")


async def test_run_waits_for_a_busy_worker_as_long_as_that_takes(
    own_redis: OwnRedis, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """Its agent is there: it waits for `worker`, longer than for one that is not there."""
    url = (await own_redis()).url
    await own_worker(redis_url=url, worker_concurrency=1)
    async with serving(tmp_path / "gateway", redis_url=url, run_claim_s=0.5) as gateway:
        alice, bob = await arrive(gateway), await arrive(gateway, "bob")
        busy = await bob.ask(str(tmp_path / "go"), agent="held")
        await bob.reads(busy, "held")
        run_id = await alice.ask("x")
        await passing(2)
        assert await waits_for(alice) == "worker"
        (tmp_path / "go").touch()
        assert (await alice.sees_end(run_id)).text == "x"
        assert await waits_for_nothing(alice)


async def waits_for_nothing(person: Person) -> bool:
    """Whether no run is going on."""
    return (await person.context())["active_run"] is None


async def test_readers_are_told_while_a_run_awaits_takeover(
    own_redis: OwnRedis, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """Once for a worker that died, before its lease ends; then the run goes on."""
    url = (await own_redis()).url
    worker = await own_worker(redis_url=url, run_lease_s=3)
    async with serving(tmp_path / "gateway", redis_url=url, run_lease_s=3) as gateway:
        alice = await arrive(gateway)
        run_id = await alice.ask("/count 60 50")
        await alice.reads(run_id, " 10 ")
        assert await waits_for(alice) is None
        await worker.kill()
        await alice.sees(lambda: interruptions(alice), what="she is told")
        (told,) = interruptions(alice)
        assert told["runId"] == run_id
        assert 0 < told["resumesWithin_s"] <= 5
        assert await waits_for(alice) == "takeover"
        await own_worker(redis_url=url, run_lease_s=3)
        await alice.reads(run_id, " 50 ")
        assert await waits_for(alice) is None
        assert (await alice.sees_end(run_id)).outcome == "success"
        assert len(interruptions(alice)) == 1


async def test_worker_that_wakes_up_in_time_goes_on(
    own_redis: OwnRedis, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """Readers were told that the run was interrupted; its lease had not ended."""
    url = (await own_redis()).url
    worker = await own_worker(redis_url=url, run_lease_s=10)
    async with serving(tmp_path / "gateway", redis_url=url, run_lease_s=10) as gateway:
        alice = await arrive(gateway)
        run_id = await alice.ask("/count 60 50")
        await alice.reads(run_id, " 10 ")
        worker.signal(signal.SIGSTOP)
        await alice.sees(lambda: interruptions(alice), what="she is told")
        worker.signal(signal.SIGCONT)
        await alice.reads(run_id, " 50 ")
        assert await waits_for(alice) is None
        run = await alice.sees_end(run_id)
        assert (run.outcome, len(run.texts)) == ("success", 1)


async def test_worker_on_the_same_machine_takes_over_from_a_dead_one_at_once(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """One that lives already, or one that is started: neither waits for the lease."""
    alice = await arrive(bare[0])
    run_id = await alice.ask("/count 400 50")  # longer than a worker takes to start
    for mark in (" 10 ", " 20 "):
        worker = await own_worker(run_lease_s=30)
        await alice.reads(run_id, mark)
        await worker.kill()
    first = await own_worker(run_lease_s=30)
    await alice.reads(run_id, " 30 ")
    await own_worker(run_lease_s=30)
    await first.kill()
    run = await alice.sees_end(run_id)
    assert (run.ends[0]["type"], run.ends[0].get("code")) == ("RUN_ERROR", "worker_lost")


async def test_worker_on_the_same_machine_that_hangs_is_not_taken_for_dead(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """It keeps its lease while another starts, and goes on."""
    alice = await arrive(bare[0])
    hung = await own_worker(run_lease_s=60)
    run_id = await alice.ask("/count 60 50")
    await alice.reads(run_id, " 10 ")
    hung.signal(signal.SIGSTOP)
    other = await own_worker(run_lease_s=60)
    length = len(alice.run(run_id).text)
    await passing(1.5)
    assert len(alice.run(run_id).text) == length
    hung.signal(signal.SIGCONT)
    assert (await alice.sees_end(run_id)).outcome == "success"
    assert "workers_died" not in other.logs


async def test_gateway_started_on_the_data_folder_of_a_dead_one_goes_on_at_once(
    own_gateway: OwnGateway, arrive: Arrive
) -> None:
    """Killed and started again, with the embedded server: nothing waits for the lease."""
    gateway = await own_gateway(redis_url=None, default_agent="demo", run_lease_s=60)
    alice = await arrive(gateway)
    run_id = await alice.ask("/count 60 50")
    await alice.reads(run_id, " 10 ")
    await gateway.kill()
    await gateway.start()
    run = await alice.follows_to_the_end(run_id, [gateway])
    assert (run.outcome, run.text) == ("success", " ".join(str(n + 1) for n in range(60)))
