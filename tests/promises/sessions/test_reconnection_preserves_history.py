"""1. Basic reconnection preserves the conversation's history, and replays what was missed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler

RESTORE_LIMIT_S = 1.0  # stated by the requirement, not chosen here
TRAITS = ("message_id", "seq", "role", "author", "content", "created_at")


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_basic_reconnection_preserves_history(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """Five messages come back with the same ids, order, content and roles, within a second."""
    phone = await dial(replicas[0], codec=codec)
    await phone.connect()
    conversation = await phone.create(title="Trip")
    contents = ["one", "zwei 🦜", [{"type": "text", "text": "three"}], "", "five\n\u2028\x00"]
    accepted = [await phone.say(conversation, content) for content in contents]
    before = await phone.history(conversation)
    await phone.heard(conversation, accepted[-1]["offset"])
    await phone.vanish()

    began = time.perf_counter()
    again = await dial(replicas[0], codec=codec)
    ready = await again.restore(phone)
    after = await again.history(conversation)
    took_s = time.perf_counter() - began

    assert ready["resumed"] is True
    assert ready["session_id"] == phone.session["session_id"]
    assert [m["content"] for m in after] == contents
    assert [m["message_id"] for m in after] == [reply["message_id"] for reply in accepted]
    assert [{t: m[t] for t in TRAITS} for m in after] == [{t: m[t] for t in TRAITS} for m in before]
    assert {m["role"] for m in after} == {"user"}
    assert took_s < RESTORE_LIMIT_S


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_messages_sent_while_away_are_replayed_once_in_order(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """What others said meanwhile follows as events, told in `replayed`, then `live`."""
    alice = await dial(replicas[0], codec=codec)
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    first = await alice.say(conversation, "before")
    await alice.heard(conversation, first["offset"])
    await alice.vanish()

    bob = await dial(replicas[0], "bob")
    replies = [await bob.say(conversation, f"away {n}") for n in range(5)]

    again = await dial(replicas[1], codec=codec)
    ready = await again.restore(alice)
    state = ready["conversations"][conversation]
    assert state["mode"] == "tail"
    assert state["offset"] == replies[-1]["offset"]
    assert state["replayed"] == state["offset"] - first["offset"]
    assert [m["content"] for m in again.log(conversation).messages] == [
        "before",
        *[f"away {n}" for n in range(5)],
    ]
    after = await bob.say(conversation, "and live")
    await again.heard(conversation, after["offset"])


async def test_history_is_the_same_for_both_codecs(replicas: Replicas, dial: Dialler) -> None:
    """What was said as JSON reads the same as MessagePack, and the other way round."""
    text, binary = await dial(replicas[0]), await dial(replicas[1], codec="msgpack")
    parts = [{"type": "x", "f": 1.5, "i": 2**53, "n": None, "l": [], "o": {}, "s": "é🦜"}]
    conversation = await text.create()
    await text.say(conversation, parts)
    await binary.say(conversation, parts)
    assert await text.history(conversation) == await binary.history(conversation)
    assert [m["content"] for m in await text.history(conversation)] == [parts, parts]


async def test_events_between_two_sessions_are_the_same_for_every_reader(
    replicas: Replicas, dial: Dialler
) -> None:
    """Readers on two replicas, one of each codec, see the same log, event by event."""
    alice = await dial(replicas[0])
    bob = await dial(replicas[1], "bob", codec="msgpack")
    conversation = await alice.create(participants=["bob"])
    await bob.request("join_conversation", conversation_id=conversation)
    last = 0
    for n in range(30):
        writer = (alice, bob)[n % 2]
        last = (await writer.say(conversation, f"message {n}"))["offset"]
    await alice.heard(conversation, last)
    await bob.heard(conversation, last)
    seen_by_bob = {event["offset"]: event["event"] for event in bob.log(conversation).events}
    seen_by_alice = {event["offset"]: event["event"] for event in alice.log(conversation).events}
    assert seen_by_bob.items() <= seen_by_alice.items()
    assert len(seen_by_bob) >= 30


async def test_session_of_a_hundred_conversations_comes_back_whole(
    replicas: Replicas, dial: Dialler
) -> None:
    """Each at its own position, with what was missed in it, and one `live` for all."""
    alice, bob = await dial(replicas[0]), await dial(replicas[0], "bob")
    await alice.connect()
    names = [await alice.create(participants=["bob"]) for _ in range(100)]
    for number, name in enumerate(names):
        for n in range(number % 4):
            said = await alice.say(name, f"heard {n}")
            await alice.heard(name, said["offset"])
    await alice.vanish()
    for number, name in enumerate(names):
        for n in range(number % 3):
            await bob.say(name, f"missed {n}")
    again = await dial(replicas[1])
    ready = await again.restore(alice)
    assert ready["conversations"].keys() == set(names)
    for number, name in enumerate(names):
        assert [m["content"] for m in again.log(name).messages] == [
            *[f"heard {n}" for n in range(number % 4)],
            *[f"missed {n}" for n in range(number % 3)],
        ]
    assert len([push for push in again.pushes if push["type"] == "live"]) == 1


async def test_left_conversation_is_heard_no_more_and_does_not_come_back(
    replicas: Replicas, dial: Dialler
) -> None:
    """Leaving holds over a reconnection."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    await bob.connect()
    conversation = await alice.create(participants=["bob"])
    await bob.request("join_conversation", conversation_id=conversation)
    assert (await bob.request("leave_conversation", conversation_id=conversation))["type"] == "left"
    said = await alice.say(conversation, "without Bob")
    await alice.heard(conversation, said["offset"])
    await bob.request("ping")
    again = await dial(replicas[0], "bob")
    ready = await again.resume(bob)
    assert ready["conversations"] == {}
    assert "without Bob" not in [m["content"] for m in bob.log(conversation).messages]
