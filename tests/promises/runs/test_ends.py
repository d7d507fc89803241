"""Ends of a run that nobody foresaw: of the agent alone, never of its worker or of other runs."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from gateway.transport.server.process import EXIT_STUCK
from tests.promises.runs.leaving import WAYS
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import OwnRedis
    from tests.promises.runs.conftest import Arrive, Gateways, OwnWorker

pytestmark = pytest.mark.timeout(90)


@pytest.mark.parametrize("way", WAYS)
async def test_whatever_leaves_an_agent_is_a_failure_of_this_agent(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive, way: str
) -> None:
    """`agent_error` after one attempt, the text kept; the worker lives, other runs go on."""
    worker = await own_worker(run_lease_s=60)
    alice, bob = await arrive(bare[0]), await arrive(bare[1], "bob")
    other = await bob.ask("/count 50 20")
    await bob.reads(other, "3")
    run = await alice.sees_end(await alice.ask(way, agent="leaving"))
    assert (run.ends[0]["code"], run.message["content"]) == ("agent_error", "so far")
    assert (await bob.sees_end(other)).outcome == "success"
    assert (await alice.sees_end(await alice.ask("and now"))).text == "and now"
    assert worker.is_running
    assert worker.logs.count("agent_failed") == 1


async def test_gateway_with_a_worker_inside_outlives_its_agents(
    stage: Gateways, arrive: Arrive
) -> None:
    """All of them at once, while a run of somebody else's goes on."""
    bob = await arrive(stage[0], "bob")
    other = await bob.ask("/count 50 20")
    people = [await arrive(stage[n % 2], f"person{n}") for n in range(len(WAYS))]
    runs = [
        await person.ask(way, agent="leaving") for person, way in zip(people, WAYS, strict=True)
    ]
    for person, run_id in zip(people, runs, strict=True):
        assert (await person.sees_end(run_id)).ends[0]["code"] == "agent_error"
    assert (await bob.sees_end(other)).outcome == "success"
    assert all(gateway.is_running for gateway in stage)


@pytest.mark.parametrize("agent", ["tidying", "deaf"])
async def test_agent_that_does_not_finish_cleaning_up_frees_its_slot(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path, agent: str
) -> None:
    """Two are cancelled in a worker of two slots: it takes the next run, and names the agent."""
    worker = await own_worker(worker_concurrency=2, run_cleanup_s=0.3)
    people = [await arrive(bare[0], f"person{n}") for n in range(2)]
    path = str(tmp_path / "enough")
    runs = [await person.ask(path, agent=agent) for person in people]
    for person, run_id in zip(people, runs, strict=True):
        await person.reads(run_id, "here")
        assert await person.cancel(run_id) == "cancelled"
    assert (await people[0].sees_end(await people[0].ask("and now"))).text == "and now"
    await eventually(lambda: worker.logs.count("agent_cleanup_timeout") == 2, what="both are named")
    assert f'"agent": "{agent}"' in worker.logs
    began = time.monotonic()
    (tmp_path / "enough").touch()
    assert await worker.terminate(within_s=15) == 0
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("agent", ["tidying", "deaf"])
async def test_time_limit_ends_a_run_whose_agent_does_not_finish(
    own_stage: Any, own_redis: OwnRedis, arrive: Arrive, tmp_path: Path, agent: str
) -> None:
    """RUN_ERROR `timeout`, its text kept; the conversation goes on."""
    gateway = await own_stage(redis_url=(await own_redis()).url, run_timeout_s=1, run_cleanup_s=0.3)
    alice = await arrive(gateway)
    run_id = await alice.ask(str(tmp_path / "enough"), agent=agent)
    run = await alice.sees_end(run_id)
    (tmp_path / "enough").touch()
    assert (run.ends[0]["code"], run.message["content"]) == ("timeout", "here")
    assert (await alice.sees_end(await alice.ask("and now"))).text == "and now"


async def test_run_that_kills_its_workers_is_given_up(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """After three of them: `worker_lost`, what was said kept; the fourth lives and works."""
    alice = await arrive(bare[0])
    run_id = await alice.ask("x", agent="killing")
    for number in range(3):
        worker = await own_worker()
        assert await worker.exited() == -signal.SIGKILL
        await alice.reads(run_id, f"{number + 1} ")
        assert not alice.run(run_id).ends
    last = await own_worker()
    run = await alice.sees_end(run_id)
    assert (run.ends[0]["code"], run.message["content"]) == ("worker_lost", "1 2 3 ")
    assert (await alice.sees_end(await alice.ask("and now"))).text == "and now"
    assert last.is_running
    assert "run_abandoned" in last.logs


async def test_run_that_was_given_back_again_and_again_is_not_given_up(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """A worker that is told to stop has not died: five rolling upgrades in one run are none."""
    alice = await arrive(bare[0])
    run_id = await alice.ask("/count 400 20")
    for number in range(5):
        worker = await own_worker(run_attempts=1)
        await alice.reads(run_id, f" {10 * (number + 1)} ")
        assert await worker.terminate() == 0
    await own_worker(run_attempts=1)
    await alice.reads(run_id, " 60 ")
    assert await alice.cancel(run_id) == "cancelled"
    run = await alice.sees_end(run_id)
    assert run.text.split() == [str(n + 1) for n in range(len(run.text.split()))]


async def test_worker_ends_while_the_thread_of_a_tool_blocks(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """On SIGTERM its run goes on elsewhere at once; the process ends itself, as `serve` does."""
    leaving = await own_worker(run_lease_s=60)
    alice = await arrive(bare[0])
    run_id = await alice.ask("600", agent="threaded")
    await alice.reads(run_id, "before")
    await own_worker(run_lease_s=60)
    assert await leaving.terminate(within_s=30) == EXIT_STUCK
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text) == ("success", "before after")


async def test_stop_does_not_wait_for_an_agent_that_does_not_finish(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Its run is given back after the limit, and another worker goes on with it at once."""
    leaving = await own_worker(run_lease_s=60, run_cleanup_s=0.3)
    alice = await arrive(bare[0])
    run_id = await alice.ask("x", agent="tidying")
    await alice.reads(run_id, "here")
    await own_worker(run_lease_s=60, run_cleanup_s=0.3)
    assert await leaving.terminate(within_s=15) == 0
    await alice.reads(run_id, "herehere")
    await alice.cancel(run_id)
