"""Cancel is certain: it ends the run here and now, whoever executes it and whether anybody does."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.promises.runs.conftest import Arrive, Gateways, OwnWorker


async def test_cancel_during_a_run_keeps_the_partial_text(stage: Gateways, arrive: Arrive) -> None:
    """What was streamed is in the history as `cancelled`, for who cancels and for the others."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask("/count 1000 10")
    await bob.reads(run_id, " 5 ")
    assert await bob.cancel(run_id) == "cancelled"
    for person in (alice, bob):
        run = await person.sees_end(run_id)
        assert run.outcome == "cancelled"
        assert run.message is not None
        assert run.message["status"] == "cancelled"
        numbers = run.text.split()
        assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
        assert 5 <= len(numbers) < 1000
    assert (await alice.history())[-1] == alice.run(run_id).message
    offset = alice.log.offset
    after = await alice.send("still here", agent=None)
    assert after["offset"] == offset + 1, "something was appended after the end"


async def test_cancel_of_a_run_that_says_nothing(stage: Gateways, arrive: Arrive) -> None:
    """It ends at once and leaves no empty message."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("hush", agent="silent")
    await alice.sees_type("RUN_STARTED")
    assert await alice.cancel(run_id) == "cancelled"
    run = await alice.sees_end(run_id)
    assert (run.outcome, run.message) == ("cancelled", None)
    assert [m["role"] for m in await alice.history()] == ["user"]


async def test_cancel_in_the_middle_of_a_tool_call_closes_it(
    stage: Gateways, arrive: Arrive
) -> None:
    """The open call gets the result `interrupted`, whatever its id is made of."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("60000", agent="calling")
    await alice.sees_type("TOOL_CALL_END")
    await alice.cancel(run_id)
    run = await alice.sees_end(run_id)
    assert list(run.results.values()) == [["interrupted"]]
    (record,) = (await alice.context())["tool_calls"]
    assert (record["toolCallId"], record["status"]) == (run.calls[0], "interrupted")


async def test_cancel_of_what_is_no_run_is_not_found(stage: Gateways, arrive: Arrive) -> None:
    """Neither an unknown id, nor another conversation's, nor a stranger's, nor a key's name."""
    alice, eve = await arrive(stage[0]), await arrive(stage[1], "eve")
    run_id = await alice.ask("/count 1000 10")
    elsewhere = await alice.client.create()
    for client, conversation, run in [
        (alice.client, alice.conversation, "r_unknown"),
        (alice.client, elsewhere, run_id),
        (eve.client, alice.conversation, run_id),
        (alice.client, "c_unknown", run_id),
    ]:
        error = await client.refusal("cancel_run", conversation_id=conversation, run_id=run)
        assert error["code"] == "not_found"
    error = await alice.client.refusal(
        "cancel_run", conversation_id=alice.conversation, run_id=f"{run_id}:text"
    )
    assert error["code"] == "bad_request"
    assert await alice.cancel(run_id) == "cancelled"


async def test_observer_may_not_cancel(stage: Gateways, arrive: Arrive) -> None:
    """Who only observes is told so, and the run goes on."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await alice.create()
    await alice.client.request(
        "add_participant", conversation_id=alice.conversation, subject="bob", role="observer"
    )
    run_id = await alice.ask("/count 30 10")
    error = await bob.client.refusal(
        "cancel_run", conversation_id=alice.conversation, run_id=run_id
    )
    assert error["code"] == "forbidden"
    assert (await alice.sees_end(run_id)).outcome == "success"


async def test_cancel_of_a_finished_run_tells_how_it_ended(stage: Gateways, arrive: Arrive) -> None:
    """Whatever it was; nothing is appended."""
    alice = await arrive(stage[0])
    for content, status in [("done", "success"), ("/fail", "failed"), ("/approve?", "success")]:
        run_id = await alice.ask(content)
        await alice.sees_end(run_id)
        offset = alice.log.offset
        assert await alice.cancel(run_id) == status
        await alice.context()
        assert alice.log.offset == offset


async def test_cancel_twice_has_one_end_and_two_answers(stage: Gateways, arrive: Arrive) -> None:
    """Two people at two replicas at once, and once more later: all hear `cancelled`."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask("/count 1000 5")
    await alice.reads(run_id, " 3 ")
    answers = await asyncio.gather(alice.cancel(run_id), bob.cancel(run_id))
    assert answers == ["cancelled", "cancelled"]
    assert await alice.cancel(run_id) == "cancelled"
    after = await alice.ask("after")
    for person in (alice, bob):
        await person.sees_end(after)
        assert len(person.run(run_id).ends) == 1


async def test_new_message_right_after_a_cancel_is_answered(
    stage: Gateways, arrive: Arrive
) -> None:
    """Cancel and the next message in one frame: the first ends cancelled, the second in success."""
    alice = await arrive(stage[0])
    first = await alice.ask("/count 1000 5")
    await alice.reads(first, " 3 ")
    cancel, send = await alice.client.start_batch(
        {"type": "cancel_run", "conversation_id": alice.conversation, "run_id": first},
        {
            "type": "send_message",
            "conversation_id": alice.conversation,
            "client_message_id": "next",
            "content": "next one",
        },
    )
    assert (await alice.client.reply_to(cancel))["status"] == "cancelled"
    second = (await alice.client.reply_to(send))["run_id"]
    assert (await alice.sees_end(second)).text == "next one"
    assert alice.run(first).outcome == "cancelled"
    await alice.history()


async def test_ten_rapid_cycles_of_send_and_cancel(stage: Gateways, arrive: Arrive) -> None:
    """Each run ends cancelled, once; then an ordinary one succeeds."""
    alice = await arrive(stage[0])
    runs = []
    for n in range(10):
        runs.append(await alice.ask(f"/count 1000 {n}"))
        assert await alice.cancel(runs[-1]) == "cancelled"
    last = await alice.ask("at last")
    assert (await alice.sees_end(last)).text == "at last"
    assert [alice.run(run_id).outcome for run_id in runs] == ["cancelled"] * 10
    assert len([m for m in await alice.history() if m["role"] == "user"]) == 11


async def test_cancel_of_a_waiting_run_leaves_the_others_their_turn(
    stage: Gateways, arrive: Arrive
) -> None:
    """The middle one of three ends before it begins; the third follows the first."""
    alice = await arrive(stage[0])
    first, middle, last = [
        await alice.ask(content) for content in ("/count 30 10", "middle", "last")
    ]
    assert await alice.cancel(middle) == "cancelled"
    assert (await alice.sees_end(middle)).outcome == "cancelled"
    assert not alice.run(first).ends
    await alice.sees_end(last)
    assert [alice.run(run_id).outcome for run_id in (first, middle, last)] == [
        "success",
        "cancelled",
        "success",
    ]


async def test_cancel_without_any_worker_completes_by_itself(
    bare: Gateways, arrive: Arrive
) -> None:
    """A run that nobody ever began ends all the same, and so does the one that waited behind it."""
    alice = await arrive(bare[0])
    first, second = await alice.ask("first"), await alice.ask("second")
    assert await alice.cancel(first) == "cancelled"
    assert await alice.cancel(second) == "cancelled"
    for run_id in (first, second):
        assert (await alice.sees_end(run_id)).outcome == "cancelled"
    assert (await alice.context())["active_run"] is None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_cancel_while_the_worker_is_dead_or_hung(
    bare: Gateways, own_worker: OwnWorker, arrive: Arrive, number: signal.Signals
) -> None:
    """It needs no worker: it ends at once, not with the lease; late words are void."""
    worker = await own_worker()
    alice = await arrive(bare[0])
    run_id = await alice.ask("/count 1000 10")
    await alice.reads(run_id, " 5 ")
    worker.signal(number)
    assert await alice.cancel(run_id) == "cancelled"
    assert (await alice.sees_end(run_id, within_s=0.5)).outcome == "cancelled"
    worker.signal(signal.SIGCONT)
    if number == signal.SIGKILL:
        await own_worker()
    after = await alice.ask("after")
    assert (await alice.sees_end(after)).text == "after"
    assert len(alice.run(run_id).ends) == 1
    await alice.history()


@pytest.mark.parametrize("rounds", [30])
async def test_cancel_racing_the_finish_has_one_winner(
    stage: Gateways, arrive: Arrive, rounds: int
) -> None:
    """Cancelled as it ends by itself: one terminal event, and the answer tells the same."""
    alice = await arrive(stage[0])
    statuses = set()
    for n in range(rounds):
        run_id = await alice.ask(f"round {n}", agent="whole")
        if n % 3:
            await alice.sees_type("RUN_STARTED", count=n + 1)
        if n % 3 == 2:
            await alice.reads(run_id, "You")
        status = await alice.cancel(run_id)
        run = await alice.sees_end(run_id)
        statuses.add(status)
        assert run.outcome == status
        if run.message is not None:
            assert run.message["status"] == {"success": "complete"}.get(status, status)
    await alice.history()
    assert statuses <= {"success", "cancelled"}


async def test_held_finish_loses_against_a_cancel(
    bare: Gateways, own_worker: OwnWorker, bare_redis: Any, arrive: Arrive, tmp_path: Path
) -> None:
    """The finish is on its way when the cancel arrives first: it is refused, nothing is doubled."""
    worker = await own_worker()
    alice = await arrive(bare[0])
    run_id = await alice.ask(str(tmp_path / "go"), agent="held")
    await alice.reads(run_id, "held")
    worker.signal(signal.SIGSTOP)
    (tmp_path / "go").touch()
    assert await alice.cancel(run_id) == "cancelled"
    worker.signal(signal.SIGCONT)
    after = await alice.ask("after")
    await alice.sees_end(after)
    run = alice.run(run_id)
    assert (run.outcome, run.message["status"], run.text) == ("cancelled", "cancelled", "held")
    await alice.history()


async def test_disconnect_cancels_nothing(stage: Gateways, arrive: Arrive) -> None:
    """Everybody leaves, politely or not; the run goes on to its end."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("/count 40 10")
    await alice.reads(run_id, "1")
    conversation = alice.conversation
    await alice.client.vanish()
    bob = await arrive(stage[1], "alice")
    bob.conversation = conversation

    async def is_over() -> bool:
        return (await bob.context())["active_run"] is None

    await eventually(is_over, what="the run has ended by itself")
    (_, reply) = await bob.client.history(conversation)
    assert (reply["status"], reply["run_id"]) == ("complete", run_id)
    assert reply["content"].split() == [str(n) for n in range(1, 41)]
