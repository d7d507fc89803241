"""1. What was missed: replayed once and in order, or told as a snapshot. Never a silent gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler


async def test_conversation_without_cursor_starts_at_the_last_acknowledged_position(
    replicas: Replicas, dial: Dialler
) -> None:
    """A client that lost its cursors hears again all that it had not acknowledged."""
    alice = await dial(replicas[0])
    await alice.connect()
    conversation = await alice.create()
    replies = [await alice.say(conversation, f"message {n}") for n in range(6)]
    third = replies[2]
    acknowledged = {"epoch": third["epoch"], "offset": third["offset"]}
    await alice.send({"type": "ack", "cursors": {conversation: acknowledged}})
    await alice.request("ping")
    await alice.vanish()

    again = await dial(replicas[1])
    ready = await again.connect(
        session_id=alice.session["session_id"], resume_token=alice.session["resume_token"]
    )
    await again.live(conversation)
    assert ready["conversations"][conversation]["mode"] == "tail"
    assert again.log(conversation).events[0]["offset"] == third["offset"] + 1
    assert [m["content"] for m in again.log(conversation).messages] == [
        f"message {n}" for n in range(3, 6)
    ]


async def test_join_without_cursor_replays_nothing(replicas: Replicas, dial: Dialler) -> None:
    """`fresh` tells the position only; the next event follows it."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(participants=["bob"])
    last = await alice.say(conversation, "unheard")
    joined = await bob.request("join_conversation", conversation_id=conversation)
    assert (joined["mode"], joined["replayed"]) == ("fresh", 0)
    assert joined["offset"] == last["offset"]
    following = await alice.say(conversation, "heard")
    await bob.heard(conversation, following["offset"])
    assert [m["content"] for m in bob.log(conversation).messages] == ["heard"]


async def test_join_with_cursor_replays_from_there(replicas: Replicas, dial: Dialler) -> None:
    """A cursor at 0 of the same epoch brings the whole log."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(participants=["bob"])
    last = await alice.say(conversation, "first words")
    joined = await bob.request(
        "join_conversation",
        conversation_id=conversation,
        cursor={"epoch": last["epoch"], "offset": 0},
    )
    await bob.live(conversation)
    assert (joined["mode"], joined["replayed"]) == ("tail", last["offset"])
    assert bob.log(conversation).events[0]["offset"] == 1
    assert bob.log(conversation).of_type("CONVERSATION_CREATED")


async def test_cursor_of_another_epoch_gets_a_snapshot(replicas: Replicas, dial: Dialler) -> None:
    """An epoch that is not the log's is answered with the whole state, not with a gap."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    last = await alice.say(conversation, "still here")
    await alice.heard(conversation, last["offset"])
    alice.log(conversation).epoch = "another"
    await alice.vanish()
    again = await dial(replicas[1])
    ready = await again.restore(alice)
    assert ready["conversations"][conversation]["mode"] == "snapshot"
    assert [m["content"] for m in again.log(conversation).messages] == ["still here"]


async def test_cursor_from_the_future_gets_a_snapshot(replicas: Replicas, dial: Dialler) -> None:
    """A client that saw more than the log holds is told the state anew, never left waiting."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    last = await alice.say(conversation, "the last")
    await alice.heard(conversation, last["offset"])
    alice.log(conversation).offset += 100
    await alice.vanish()
    again = await dial(replicas[1])
    ready = await again.restore(alice)
    assert ready["conversations"][conversation]["mode"] == "snapshot"
    following = await again.say(conversation, "goes on")
    await again.heard(conversation, following["offset"])


async def test_client_behind_a_trimmed_log_gets_a_snapshot(
    in_process: InProcess, dial: Dialler
) -> None:
    """When the log no longer holds what was missed, `snapshot` brings the state, then the tail."""
    gateway = await in_process(log_max_events=20)
    alice = await dial(gateway)
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    first = await alice.say(conversation, "message 0")
    await alice.heard(conversation, first["offset"])
    await alice.vanish()
    bob = await dial(gateway, "bob")
    pending = [
        await bob.start(
            "send_message",
            conversation_id=conversation,
            client_message_id=f"m{n}",
            content=f"message {n}",
            agent=None,
        )
        for n in range(1, 300)
    ]
    for request in pending:
        await bob.reply_to(request)

    again = await dial(gateway)
    ready = await again.restore(alice)
    assert ready["conversations"][conversation]["mode"] == "snapshot"
    snapshot = again.log(conversation).snapshots[-1]
    told = [m["content"] for m in again.log(conversation).messages]
    assert told == [f"message {n}" for n in range(300 - len(told), 300)]
    assert snapshot["has_more"] is True
    assert snapshot["context"]["version"] == 0
    whole = [m["content"] for m in await again.history(conversation)]
    assert whole == [f"message {n}" for n in range(300)]
    following = await bob.say(conversation, "after the snapshot")
    await again.heard(conversation, following["offset"])


async def test_replay_during_traffic_is_never_overtaken(replicas: Replicas, dial: Dialler) -> None:
    """Resuming while others keep sending yields each event once, in order, and then live ones."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    current, last = alice, 0
    for round_number in range(10):
        pending = [
            await bob.start(
                "send_message",
                conversation_id=conversation,
                client_message_id=f"r{round_number}-{n}",
                content="x",
                agent=None,
            )
            for n in range(40)
        ]
        successor = await dial(replicas[round_number % 2])
        await successor.restore(current)
        for request in pending:
            last = (await bob.reply_to(request))["offset"]
        with pytest.raises(SocketEnded):
            await current.push("never", within_s=5)
        current = successor
    await current.heard(conversation, last)
    told = current.log(conversation)
    assert [event["offset"] for event in told.events][-400:] == list(range(last - 399, last + 1))


async def test_acknowledging_what_never_was_makes_no_gap(replicas: Replicas, dial: Dialler) -> None:
    """A position beyond the log, or of another epoch, never hides events from a later resume."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    said = await alice.say(conversation, "message 0")
    await alice.heard(conversation, said["offset"])
    for made_up in (
        {"epoch": said["epoch"], "offset": said["offset"] + 1_000},
        {"epoch": "another", "offset": said["offset"]},
    ):
        await alice.send({"type": "ack", "cursors": {conversation: made_up}})
    await alice.request("ping")
    await alice.vanish()
    await bob.say(conversation, "message 1")
    again = await dial(replicas[1])
    await again.connect(
        session_id=alice.session["session_id"], resume_token=alice.session["resume_token"]
    )
    await again.live(conversation)
    told = [m["content"] for m in again.log(conversation).messages]
    assert told[-1:] == ["message 1"]
    following = await bob.say(conversation, "message 2")
    await again.heard(conversation, following["offset"])
    assert [m["content"] for m in again.log(conversation).messages][-2:] == [
        "message 1",
        "message 2",
    ]
