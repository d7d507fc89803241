"""What agents ask, call, keep and say is bounded in bytes, and told by name when it is too much."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.test_interrupts import answer, next_run, questions

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive, Gateways
    from tests.promises.runs.person import Person
    from tests.promises.runs.run_log import ToldRun

KIB = 1024


async def asks(person: Person, words: str, agent: str) -> ToldRun:
    """Start a run of an agent that overdoes; return it when it has ended."""
    return await person.sees_end(await person.ask(words, agent=agent))


def fault(run: ToldRun) -> str:
    """Return what a run failed with."""
    assert run.outcome == "error"
    assert run.ends[0]["code"] == "agent_error"
    message: str = run.ends[0]["message"]
    return message


async def test_questions_of_a_conversation_are_bounded_together(
    stage: Gateways, arrive: Arrive
) -> None:
    """60 KiB a run: what finds no room fails its run, and an answer makes room again."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    runs = [await asks(alice, f"1 {60 * KIB}", "asking_much") for _ in range(6)]
    assert [run.outcome for run in runs] == ["interrupt"] * 4 + ["error"] * 2
    problem = fault(runs[4])
    assert "bytes of questions" in problem
    assert "262144" in problem
    assert runs[4].message["content"] == "I ask."
    context = await bob.context()
    assert len(context["interrupts"]) == 4
    assert len(json.dumps(context)) < 256 * KIB + 4 * KIB
    await bob.join(alice.conversation, cursor={"epoch": "gone", "offset": 0})
    assert len(json.dumps(bob.log.snapshots[-1])) < 256 * KIB + 16 * KIB
    assert (await answer(alice, runs[0].run_id))["winner"] is True
    await next_run(alice, runs[5].run_id)
    assert (await asks(alice, f"1 {60 * KIB}", "asking_much")).outcome == "interrupt"


async def test_questions_of_one_run_are_bounded(stage: Gateways, arrive: Arrive) -> None:
    """The agent is told when it asks; nothing of it is asked."""
    alice = await arrive(stage[0])
    run = await asks(alice, f"5 {60 * KIB}", "asking_much")
    assert "it may have 262144" in fault(run)
    assert (await alice.context())["interrupts"] == []


async def test_answers_that_wait_for_others_are_bounded_together(
    own_stage: Any, arrive: Arrive
) -> None:
    """`too_large`, naming the payload; a smaller one is taken, and the run has all of them."""
    gateway = await own_stage(max_interrupts_bytes=8 * KIB)
    alice = await arrive(gateway)
    run = await asks(alice, "3 10", "asking_much")
    for nth in range(2):
        assert (await answer(alice, run.run_id, nth=nth, payload="a" * 3 * KIB))["winner"] is True
    error = await answer(alice, run.run_id, nth=2, payload="a" * 3 * KIB)
    assert (error["code"], error["retryable"]) == ("too_large", False)
    assert error["message"].startswith("$.payload: ")
    assert questions(alice, run.run_id)[2] in json.dumps((await alice.context())["interrupts"])
    assert (await answer(alice, run.run_id, nth=2, payload="a"))["winner"] is True
    assert (await next_run(alice, run.run_id)).text == "3 answers"


async def test_tool_calls_that_are_kept_are_bounded_together(
    stage: Gateways, arrive: Arrive
) -> None:
    """The newest are; for who reads the context, and in a snapshot."""
    alice = await arrive(stage[0])
    run_id = await alice.ask(f"30 {40 * KIB}", agent="calling_much")
    run = await alice.follows_to_the_end(run_id, [stage[0]])  # so much at once may be too much
    assert run.outcome == "success"
    kept = (await alice.context())["tool_calls"]
    assert [call["toolCallId"] for call in kept] == [f"{run.run_id}_{n}" for n in range(18, 30)]
    assert len(json.dumps(kept)) <= 512 * KIB
    await asks(alice, "250 10", "calling_much")
    kept = (await alice.context())["tool_calls"]
    assert len(kept) == 200
    assert {len(call["result"]) for call in kept} == {10}


async def test_a_tool_call_is_as_large_as_an_event(own_stage: Any, arrive: Arrive) -> None:
    """Arguments and result together."""
    alice = await arrive(await own_stage(max_event_bytes=4 * KIB))
    assert "ToolCallResult" in fault(await asks(alice, f"1 {5 * KIB}", "calling_much"))
    assert (await asks(alice, f"1 {3 * KIB}", "calling_much")).outcome == "success"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("telling_much", f"100 {4 * KIB}"),
        ("stepping_much", f"100 {4 * KIB}"),
        ("calling_much", f"100 {4 * KIB}"),
    ],
)
async def test_what_a_run_keeps_is_bounded(
    own_stage: Any, arrive: Arrive, agent: str, words: str
) -> None:
    """Events, results of steps, tool calls: all that one attempt adds beside its reply."""
    alice = await arrive(await own_stage(max_run_bytes=64 * KIB))
    assert "more than 65536 bytes in this run" in fault(await asks(alice, words, agent))
    assert (await asks(alice, f"10 {KIB}", agent)).outcome == "success"


async def test_a_reply_is_bounded_in_bytes(own_stage: Any, arrive: Arrive) -> None:
    """As they are kept: JSON writes a control character with six."""
    alice = await arrive(await own_stage(max_reply_bytes=60 * KIB))
    run = await asks(alice, "100 1000", "escaping_much")
    assert "longer than 61440 bytes" in fault(run)
    assert len(run.text) == 10_000
