"""A message meets a run that is going on: rejected, enqueued, or the run interrupted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive, Gateways


async def test_rejected_message_leaves_no_trace(stage: Gateways, arrive: Arrive) -> None:
    """`run_active`; neither message nor run; the same message is taken once the run has ended."""
    alice = await arrive(stage[0])
    first = await alice.ask("/count 30 20")
    request = {
        "conversation_id": alice.conversation,
        "client_message_id": "second",
        "content": "second",
        "if_running": "reject",
    }
    error = await alice.client.refusal("send_message", **request)
    assert error["code"] == "run_active"
    await alice.sees_end(first)
    accepted = await alice.client.request("send_message", **request)
    assert accepted["duplicate"] is False
    assert (await alice.sees_end(accepted["run_id"])).text == "second"
    assert [m["seq"] for m in await alice.history()] == [1, 2, 3, 4]


async def test_reject_without_a_run_is_as_any_message(stage: Gateways, arrive: Arrive) -> None:
    """Nothing is going on, so nothing is rejected; nor is a message that asks for no run."""
    alice = await arrive(stage[0])
    first = await alice.ask("one", if_running="reject")
    await alice.sees_end(first)
    running = await alice.ask("/count 30 20")
    note = await alice.send("just a note", agent=None, if_running="reject")
    assert "run_id" not in note
    assert (await alice.sees_end(running)).outcome == "success"


async def test_queued_runs_go_in_the_order_of_their_messages(
    stage: Gateways, arrive: Arrive
) -> None:
    """Ten at once from two people at two replicas: one at a time, first come, first served."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    runs = await asyncio.gather(
        *(person.ask(f"{n} of {id(person)}") for n in range(5) for person in (alice, bob))
    )
    for run_id in runs:
        await alice.sees_end(run_id)
    asked = [m["message"]["message_id"] for m in messages(alice, role="user")]
    answered = [m["message"]["content"] for m in messages(alice, role="assistant")]
    said = [m["message"]["content"] for m in messages(alice, role="user")]
    assert answered == said
    assert len(set(asked)) == 10
    kinds = [
        frame["event"]["type"]
        for frame in alice.log.events
        if frame["event"]["type"] in {"RUN_STARTED", "RUN_FINISHED"}
    ]
    assert kinds == ["RUN_STARTED", "RUN_FINISHED"] * 10


def messages(person: object, *, role: str) -> list[dict]:
    """Return the MESSAGE_CREATED events of a role."""
    return [
        frame["event"]
        for frame in person.log.of_type("MESSAGE_CREATED")
        if frame["event"]["message"]["role"] == role
    ]


async def test_interrupting_message_cuts_the_run_and_goes_first(
    stage: Gateways, arrive: Arrive
) -> None:
    """The run ends cancelled with its partial text; the interrupter goes before who waited."""
    alice = await arrive(stage[0])
    first = await alice.ask("/count 1000 10")
    waiting = await alice.ask("I waited")
    await alice.reads(first, " 5 ")
    urgent = await alice.ask("urgent", if_running="interrupt")
    await alice.sees_end(waiting)
    assert alice.run(first).outcome == "cancelled"
    assert alice.run(first).message["status"] == "cancelled"
    assert alice.run(urgent).text == "urgent"
    ends = [
        frame["event"]["runId"]
        for frame in alice.log.events
        if frame["event"]["type"] == "RUN_FINISHED"
    ]
    assert ends == [first, urgent, waiting]
    await alice.history()


async def test_interrupt_after_interrupt(stage: Gateways, arrive: Arrive) -> None:
    """Ten in a row as fast as they go: nine ends cancelled, the last one answers."""
    alice = await arrive(stage[0])
    runs = [await alice.ask(f"/count 1000 {n}", if_running="interrupt") for n in range(9)]
    last = await alice.ask("the last", if_running="interrupt")
    assert (await alice.sees_end(last)).text == "the last"
    assert [alice.run(run_id).outcome for run_id in runs] == ["cancelled"] * 9
    await alice.history()


async def test_duplicate_returns_the_same_run(stage: Gateways, arrive: Arrive) -> None:
    """During the run, after it, at another replica, under another policy: no second run."""
    alice, again = await arrive(stage[0]), await arrive(stage[1])
    first = await alice.send("/count 20 20", client_message_id="once")
    again.conversation = alice.conversation
    for policy in ("enqueue", "reject", "interrupt"):
        repeat = await again.send("/count 20 20", client_message_id="once", if_running=policy)
        assert (repeat["duplicate"], repeat["run_id"]) == (True, first["run_id"])
        assert repeat["message_id"] == first["message_id"]
    assert (await alice.sees_end(first["run_id"])).outcome == "success"
    repeat = await alice.send("/count 20 20", client_message_id="once")
    assert (repeat["duplicate"], repeat["run_id"]) == (True, first["run_id"])
    after = await alice.ask("after")
    await alice.sees_end(after)
    assert [m["role"] for m in await alice.history()] == ["user", "assistant"] * 2


async def test_unknown_agent_is_refused_and_nothing_accepted(
    stage: Gateways, arrive: Arrive
) -> None:
    """`bad_request`, naming the field."""
    alice = await arrive(stage[0])
    await alice.create()
    error = await alice.client.refusal(
        "send_message",
        conversation_id=alice.conversation,
        client_message_id="x",
        content="hello",
        agent="nobody",
    )
    assert error["code"] == "bad_request"
    assert "$.agent" in error["message"]
    assert await alice.history() == []


async def test_runs_of_many_conversations_go_side_by_side(stage: Gateways, arrive: Arrive) -> None:
    """A silent run in one holds up nobody in another."""
    alice = await arrive(stage[0])
    silent = await alice.ask("x", agent="silent")
    others = [await arrive(stage[n % 2], f"other{n}") for n in range(8)]
    runs = await asyncio.gather(*(person.ask("quick") for person in others))
    for person, run_id in zip(others, runs, strict=True):
        assert (await person.sees_end(run_id)).text == "quick"
    assert await alice.cancel(silent) == "cancelled"
