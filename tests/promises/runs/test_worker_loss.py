"""Workers, replicas and Redis die in the middle of runs: each run ends once, its text right."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.conftest import LEASE_S, RUN_SETTINGS
from tests.support.eventually import eventually, passing
from tests.support.workers import ServingProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import OwnGateway, OwnRedis
    from tests.promises.runs.conftest import Arrive, Gateways, OwnWorker
    from tests.promises.runs.person import Person
    from tests.support.redis_node import RedisNode

pytestmark = pytest.mark.timeout(90)
TAKEN_OVER_S = LEASE_S * 1.2 + 2.0  # the lease, the next sweep, and a slow test machine


def numbers(last: int) -> str:
    """Return what counting to `last` says."""
    return " ".join(str(number) for number in range(1, last + 1))


async def assert_one_reply(person: Person, text: str) -> None:
    """Check that the history is one question and this one reply."""
    assert [m["content"] for m in await person.history()][1:] == [text]


async def test_sigkill_with_policy_resume_goes_on_where_it_stopped(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """The text goes on under its id, no number missing or doubled, within the lease."""
    alice = await arrive(bare[0])
    first = await own_worker()
    run_id = await alice.ask("/count 60 20")
    await alice.reads(run_id, " 20 ")
    await first.kill()
    length = len(alice.run(run_id).text)
    await own_worker()
    ready_at = time.monotonic()
    await alice.sees(lambda: len(alice.run(run_id).text) > length, what="it goes on")
    assert time.monotonic() - ready_at < TAKEN_OVER_S
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text, len(run.texts)) == ("success", numbers(60), 1)
    await assert_one_reply(alice, numbers(60))


async def test_sigkill_with_policy_restart_discards_and_begins_anew(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Clients are told what is void; the reply is another message, whole; history has only it."""
    alice = await arrive(bare[0])
    first = await own_worker()
    run_id = await alice.ask("40 20", agent="restarting")
    await alice.reads(run_id, " 10 ")
    await first.kill()
    await own_worker()
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text, len(run.texts)) == ("success", numbers(40), 2)
    (reset,) = alice.told_of("run_restarted")
    assert reset == {"runId": run_id, "discardedMessageId": next(iter(run.texts))}
    assert list(run.texts)[1] == run.message["message_id"]
    await assert_one_reply(alice, numbers(40))


async def test_sigkill_with_policy_fail_ends_the_run_with_what_was_said(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """RUN_ERROR `worker_lost`, the partial text kept as failed, the next message answered."""
    alice = await arrive(bare[0])
    first = await own_worker()
    run_id = await alice.ask("1000 20", agent="failing")
    await alice.reads(run_id, " 10 ")
    await first.kill()
    await own_worker()
    run = await alice.sees_end(run_id)
    assert (run.ends[0]["code"], run.message["status"]) == ("worker_lost", "failed")
    assert run.text == numbers(len(run.text.split()))
    await assert_one_reply(alice, run.text)
    after = await alice.ask("after")
    assert (await alice.sees_end(after)).text == "after"


async def test_sigkill_in_the_middle_of_a_tool_call(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """A restart closes the open call before it calls again: every START has its RESULT."""
    alice = await arrive(bare[0])
    first = await own_worker()
    run_id = await alice.ask("1500", agent="calling")
    await alice.sees_type("TOOL_CALL_END")
    await first.kill()
    await own_worker()
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text) == ("success", "I ask. It answered.")
    assert run.results == {run.calls[0]: ["interrupted", 'it says "ü"']}


async def test_journaled_steps_are_done_once_over_two_deaths(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Each step's result, random as it is, stands in the reply once, whoever finished the run."""
    alice = await arrive(bare[0])
    run_id = await alice.ask("24 60", agent="stepping")
    for mark in ("4:", "12:"):
        worker = await own_worker()
        await alice.reads(run_id, mark)
        await worker.kill()
    await own_worker()
    run = await alice.sees_end(run_id)
    assert [word.partition(":")[0] for word in run.text.split()] == [str(n) for n in range(24)]
    await assert_one_reply(alice, run.text)


async def test_workflow_of_a_dead_worker_leaves_out_no_step(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Also where the workflow of an earlier run had come further."""
    alice = await arrive(bare[0])
    worker = await own_worker()
    await alice.sees_end(await alice.ask("/workflow 3 1"))
    run_id = await alice.ask("/workflow 3 400")
    await alice.sees_type("STEP_STARTED", count=4)
    await worker.kill()
    await own_worker()
    await alice.sees_end(run_id)
    finished = [frame["event"]["stepName"] for frame in alice.log.of_type("STEP_FINISHED")]
    assert finished == ["step 1", "step 2", "step 3"] * 2


async def test_late_writes_of_a_paused_worker_are_refused(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """SIGSTOP past the lease, another takes over, SIGCONT: nothing doubled, both workers live."""
    alice = await arrive(bare[0])
    paused = await own_worker()
    run_id = await alice.ask("/count 100 20")
    await alice.reads(run_id, " 20 ")
    paused.signal(signal.SIGSTOP)
    await own_worker()
    length = len(alice.run(run_id).text)
    await alice.sees(lambda: len(alice.run(run_id).text) > length, what="another goes on")
    paused.signal(signal.SIGCONT)
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text) == ("success", numbers(100))
    await assert_one_reply(alice, numbers(100))
    await eventually(lambda: "run_lost" in paused.logs or "run_stopped" in paused.logs, what="told")
    assert paused.is_running


async def test_worker_paused_beyond_the_end_of_its_run_changes_nothing(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Another has finished the run before SIGCONT: the end stands."""
    alice = await arrive(bare[0])
    paused = await own_worker()
    run_ids = [await alice.ask("/count 30 20")]
    await alice.reads(run_ids[0], " 10 ")
    paused.signal(signal.SIGSTOP)
    await own_worker()
    await alice.sees_end(run_ids[0])
    paused.signal(signal.SIGCONT)
    await eventually(lambda: "run_lost" in paused.logs or "run_stopped" in paused.logs, what="told")
    run_ids.append(await alice.ask("after"))
    await alice.sees_end(run_ids[1])
    assert [alice.run(run_id).text for run_id in run_ids] == [numbers(30), "after"]
    await alice.history()


async def test_redis_killed_in_the_middle_of_runs(
    durable_redis: RedisNode, own_stage: Any, arrive: Arrive
) -> None:
    """SIGKILL and a restart on its data, for longer than the lease: every text is whole, once."""
    redis = durable_redis
    gateway = await own_stage(redis_url=redis.url, redis_timeout_s=1)
    people = [await arrive(gateway, f"person{n}") for n in range(5)]
    asked = [
        ("/count 80 20", None),
        ("24 50", "stepping"),
        ("60 20", "restarting"),
        ("40 20", "noting"),
        ("/workflow 8 100", None),
    ]
    runs = [
        await person.ask(content, **({"agent": agent} if agent else {}))
        for person, (content, agent) in zip(people, asked, strict=True)
    ]
    await people[0].reads(runs[0], " 10 ")
    redis.kill()
    await passing(LEASE_S + 0.5)
    await redis.start()
    ended = [
        await person.follows_to_the_end(run_id, [gateway], within_s=30)
        for person, run_id in zip(people, runs, strict=True)
    ]
    assert [run.outcome for run in ended] == ["success"] * 5
    assert ended[0].text == numbers(80)
    assert [word.partition(":")[0] for word in ended[1].text.split()] == [str(n) for n in range(24)]
    assert ended[2].text == numbers(60)
    notes = (await people[3].context())["memory"]
    assert notes == {f"note{n}": n for n in range(40)}
    for person in people:
        assert len(await person.history()) == 2
    after = await people[0].ask("after")
    assert (await people[0].sees_end(after)).text == "after"


async def test_redis_killed_again_and_again_while_runs_end(
    durable_redis: RedisNode, own_stage: Any, arrive: Arrive
) -> None:
    """Short runs over three kills: the last words of none are lost."""
    redis = durable_redis
    gateway = await own_stage(redis_url=redis.url, redis_timeout_s=1)
    people = [await arrive(gateway, f"person{n}") for n in range(4)]
    texts = [" ".join(f"{n}.{word}" for word in range(60)) for n in range(4)]
    runs = [await person.ask(text) for person, text in zip(people, texts, strict=True)]
    for _ in range(3):
        await passing(0.3)
        redis.kill()
        await passing(0.1)
        await redis.start()
    for person, run_id, text in zip(people, runs, texts, strict=True):
        run = await person.follows_to_the_end(run_id, [gateway], within_s=30)
        assert (run.outcome, run.text) == ("success", text)
        await assert_one_reply(person, text)


async def test_gateway_killed_while_its_run_goes_on_elsewhere(
    own_gateway: OwnGateway, bare: Gateways, own_worker: OwnWorker, bare_redis: Any, arrive: Arrive
) -> None:
    """The replica that took the message dies; the worker does not notice; the client goes on."""
    await own_worker()
    doomed = await own_gateway(redis_url=bare_redis.url, default_agent="demo")
    alice = await arrive(doomed)
    run_id = await alice.ask("/count 60 20")
    await alice.reads(run_id, " 10 ")
    await doomed.kill()
    run = await alice.follows_to_the_end(run_id, [bare[1]])
    assert (run.outcome, run.text, len(run.texts)) == ("success", numbers(60), 1)
    await assert_one_reply(alice, numbers(60))


async def test_gateway_with_the_worker_inside_killed(
    own_redis: OwnRedis, own_gateway: OwnGateway, arrive: Arrive
) -> None:
    """Gateway, worker and socket die at once, started again on the port: no number missing."""
    redis = await own_redis()
    gateway = await own_gateway(redis_url=redis.url, default_agent="demo", run_lease_s=LEASE_S)
    alice = await arrive(gateway)
    run_id = await alice.ask("/count 100 20")
    await alice.reads(run_id, " 40 ")
    await gateway.restart()
    run = await alice.follows_to_the_end(run_id, [gateway])
    assert (run.outcome, run.text) == ("success", numbers(100))
    await assert_one_reply(alice, numbers(100))


async def test_sigterm_hands_over_at_once(
    bare: Gateways, own_worker: OwnWorker, bare_redis: Any, arrive: Arrive
) -> None:
    """A worker that is told to stop gives its runs to others, who need not wait for the lease."""
    leaving = await own_worker(run_lease_s=60)
    people = [await arrive(bare[n % 2], f"person{n}") for n in range(4)]
    runs = [await person.ask("/count 80 20") for person in people]
    untidy = await arrive(bare[0], "untidy")
    untidy_run = await untidy.ask("x", agent="untidy")
    for person, run_id in zip([*people, untidy], [*runs, untidy_run], strict=True):
        await person.reads(run_id, "untidy" if person is untidy else " 10 ")
    await own_worker(run_lease_s=60)
    began = time.monotonic()
    assert await leaving.terminate() == 0
    for person, run_id in zip(people, runs, strict=True):
        run = await person.sees_end(run_id)
        assert (run.outcome, run.text, len(run.texts)) == ("success", numbers(80), 1)
    assert (await untidy.sees_end(untidy_run)).text == "untidy tidy"
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("agent", ["failing", "restarting"])
async def test_worker_told_to_stop_lets_finish_what_cannot_move(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive, agent: str
) -> None:
    """A rolling upgrade fails no short run, and begins none anew."""
    leaving = await own_worker()
    alice = await arrive(bare[0])
    run_id = await alice.ask("40 20", agent=agent)
    await alice.reads(run_id, " 5")
    await own_worker()
    assert await leaving.terminate() == 0
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text, len(run.texts)) == ("success", numbers(40), 1)
    assert not alice.told_of("run_restarted")


async def test_agent_that_blocks_the_loop_keeps_its_lease(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Three leases without a turn of the loop, another worker ready to take over: one attempt."""
    first = await own_worker()
    alice = await arrive(bare[0])
    run_id = await alice.ask(str(3 * LEASE_S), agent="blocking")
    await alice.reads(run_id, "before")
    await own_worker()
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.text, len(run.texts)) == ("success", "before after", 1)
    assert not alice.told_of("run_restarted")
    assert first.is_running


async def test_run_that_takes_too_long_ends_with_timeout(
    own_stage: Any, own_redis: OwnRedis, arrive: Arrive
) -> None:
    """Silent or talking: RUN_ERROR `timeout`, its partial text kept; the next run gets its turn."""
    redis = await own_redis()
    gateway = await own_stage(redis_url=redis.url, run_timeout_s=1)
    alice, bob = await arrive(gateway), await arrive(gateway, "bob")
    talking, silent = await alice.ask("/count 1000 10"), await bob.ask("x", agent="silent")
    after = await bob.ask("after")
    run = await alice.sees_end(talking)
    assert (run.ends[0]["code"], run.message["status"]) == ("timeout", "failed")
    assert run.text == numbers(len(run.text.split()))
    assert (await bob.sees_end(silent)).ends[0]["code"] == "timeout"
    assert (await bob.sees_end(after)).text == "after"


async def test_agent_that_will_not_stop_is_stopped(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive, own_stage: Any, own_redis: OwnRedis
) -> None:
    """It swallows its cancellation and talks on: cancel, time limit and SIGTERM end it."""
    impatient = await own_stage(redis_url=(await own_redis()).url, run_timeout_s=1)
    alice, bob = await arrive(bare[0]), await arrive(impatient, "bob")
    late = await bob.ask("x", agent="stubborn")
    worker = await own_worker()
    run_id = await alice.ask("x", agent="stubborn")
    await alice.reads(run_id, "10 ")
    await alice.cancel(run_id)
    run_id = await alice.ask("x", agent="stubborn")
    await alice.reads(run_id, "10 ")
    assert await worker.terminate(within_s=5) == 0
    await own_worker()
    await alice.reads(run_id, "50 ")
    assert await alice.cancel(run_id) == "cancelled"
    run = await alice.sees_end(run_id)
    assert run.text.split() == [str(n + 1) for n in range(len(run.text.split()))]
    assert (await bob.sees_end(late)).ends[0]["code"] == "timeout"


async def test_time_limit_holds_for_an_agent_that_blocks_its_worker(
    own_worker: OwnWorker, arrive: Arrive, bare_redis: RedisNode, tmp_path: Path
) -> None:
    """Its worker cannot end the run, so another does, a lease after the limit."""
    impatient = ServingProcess(
        tmp_path / "impatient", redis_url=bare_redis.url, run_timeout_s=1, **RUN_SETTINGS
    )
    await impatient.start()
    try:
        alice = await arrive(impatient)
        await own_worker()
        run_id = await alice.ask("30", agent="blocking")
        await alice.reads(run_id, "before")
        await own_worker()
        run = await alice.sees_end(run_id)
        assert (run.ends[0]["code"], run.message["status"]) == ("timeout", "failed")
        assert run.text == "before"
    finally:
        await impatient.dispose()


async def test_two_workers_share_the_runs_and_a_third_joins(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Scaled while runs go on, one killed: each of twenty runs ends in success, once."""
    workers = [await own_worker(worker_concurrency=5), await own_worker(worker_concurrency=5)]
    people = [await arrive(bare[n % 2], f"person{n}") for n in range(20)]
    runs = await asyncio.gather(*(person.ask("/count 30 30") for person in people))
    await people[0].reads(runs[0], " 3 ")
    await own_worker()
    await workers[0].kill()
    for person, run_id in zip(people, runs, strict=True):
        run = await person.sees_end(run_id)
        assert (run.outcome, run.text) == ("success", numbers(30))


async def test_worker_that_lacks_an_agent_leaves_its_runs_to_others(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """As while a new agent is rolled out: its runs wait for a worker that has it, others do not."""
    await own_worker(agents="")
    alice, bob = await arrive(bare[0]), await arrive(bare[1], "bob")
    runs = [await alice.ask(f"{n}", agent="whole") for n in range(5)]
    for n in range(5):
        assert (await bob.sees_end(await bob.ask(f"hello {n}"))).text == f"hello {n}"
    assert not any(alice.run(run_id).ends for run_id in runs)
    await own_worker()
    for n, run_id in enumerate(runs):
        assert (await alice.sees_end(run_id)).text == f"You said: {n}"


async def test_worker_survives_whatever_its_agents_do(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive
) -> None:
    """Broken agents one after the other and at once: the worker answers the next message."""
    worker = await own_worker()
    faults = ["surrogate in the error", "patch", "huge patch", "interrupt", "bug"]
    people = [await arrive(bare[0], f"person{n}") for n in range(len(faults))]
    asked = zip(people, faults, strict=True)
    runs = [await person.ask(fault, agent="broken") for person, fault in asked]
    for person, run_id in zip(people, runs, strict=True):
        assert (await person.sees_end(run_id)).outcome == "error"
        assert (await person.sees_end(await person.ask("and now"))).text == "and now"
    assert worker.is_running
