"""Messages sent without waiting are performed together, and answered as if they had been alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient


def message(conversation: str, number: object, content: object = "x", **fields: Any) -> Any:
    """Return a request to send one."""
    return {
        "type": "send_message",
        "conversation_id": conversation,
        "client_message_id": f"m{number}",
        "content": content,
        "agent": None,
    } | fields


async def answers(client: WireClient, *requests: Any) -> list[Any]:
    """Return what is answered to requests that are all sent at once."""
    ids = await client.start_batch(*requests)
    return [await client.answer_to(one) for one in ids]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_each_is_answered_in_order_and_for_itself(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """Good ones, one too large, a repeat, a conflict, another kind of request in between."""
    alice = await dial(replicas[0], codec=codec)
    conversation, other = await alice.create(), await alice.create()
    found = await answers(
        alice,
        message(conversation, 1),
        message(conversation, 2),
        message(conversation, 3, "x" * 70_000),
        message(conversation, 1),
        message(conversation, 2, "other"),
        {"type": "ping"},
        message(other, 1),
        message(conversation, 4),
        message("c_unknown", 1),
        message(conversation, 5),
    )
    told = [one.get("code") or one.get("seq") or one["type"] for one in found]
    assert told == [1, 2, "too_large", 1, "conflict", "pong", 1, 3, "not_found", 4]
    assert [one.get("duplicate") for one in found[:4]] == [False, False, None, True]
    assert [m["seq"] for m in await alice.history(conversation)] == [1, 2, 3, 4]
    replies = [one for one in found if one["type"] == "message_accepted"]
    await alice.heard(conversation, max(one["offset"] for one in replies))


async def test_the_same_message_twice_at_once_is_stored_once(
    replicas: Replicas, dial: Dialler
) -> None:
    """The second meets the first, though both are in one step."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    first, again = await answers(alice, message(conversation, 1), message(conversation, 1))
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["offset"] == again["offset"]
    assert len(await alice.history(conversation)) == 1


async def test_an_observer_is_refused_each_of_them(replicas: Replicas, dial: Dialler) -> None:
    """Nothing is accepted."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create()
    await alice.request(
        "add_participant", conversation_id=conversation, subject="bob", role="observer"
    )
    found = await answers(bob, message(conversation, 1), message(conversation, 2))
    assert [one["code"] for one in found] == ["forbidden", "forbidden"]
    assert await alice.history(conversation) == []


async def test_a_message_that_starts_a_run_is_performed_alone(
    in_process: InProcess, dial: Dialler
) -> None:
    """Between others, in its place."""
    gateway = await in_process(default_agent="demo")
    alice = await dial(gateway)
    conversation = await alice.create()
    found = await answers(
        alice,
        message(conversation, 1),
        message(conversation, 2, "/count 2 0", agent="demo"),
        message(conversation, 3),
    )
    numbers = [one["seq"] for one in found]
    assert numbers[:2] == [1, 2]
    assert numbers[2] > 2  # the run's reply may be before it
    assert ["run_id" in one for one in found] == [False, True, False]


async def test_a_sender_who_pipelines_more_than_is_read_ahead_loses_nothing(
    replicas: Replicas, dial: Dialler
) -> None:
    """Reading pauses and goes on."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    ids = [await alice.start_as_is(message(conversation, n)) for n in range(500)]
    found = [await alice.reply_to(one) for one in ids]
    assert [one["seq"] for one in found] == list(range(1, 501))
    await alice.heard(conversation, found[-1]["offset"])
