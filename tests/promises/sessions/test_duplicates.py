"""A message that is sent again is stored once, however much time and failure lies between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis, Replicas
    from tests.support.dialling import Dialler

SAME = ("conversation_id", "message_id", "client_message_id", "epoch", "offset")


def the_same(first: dict[str, Any], again: dict[str, Any]) -> bool:
    """Whether a reply repeats the first one, marked as a duplicate."""
    return again["duplicate"] and {n: first[n] for n in SAME} == {n: again[n] for n in SAME}


@pytest.mark.parametrize(
    "content", ["text", "", [{"type": "text", "text": "é", "n": 1.0, "list": [], "o": {}}]]
)
async def test_same_id_and_content_returns_the_first_result(
    replicas: Replicas, dial: Dialler, content: object
) -> None:
    """On another replica and in the other codec; no second message, no second event."""
    alice, desk = await dial(replicas[0]), await dial(replicas[1], codec="msgpack")
    conversation = await alice.create()
    first = await alice.say(conversation, content, client_message_id="m1")
    again = await desk.say(conversation, content, client_message_id="m1")
    assert first["duplicate"] is False
    assert the_same(first, again)
    following = await alice.say(conversation, "next", client_message_id="m2")
    assert following["offset"] == first["offset"] + 1
    await alice.heard(conversation, following["offset"])
    assert len(await alice.history(conversation)) == 2


async def test_same_id_with_other_content_is_a_conflict(replicas: Replicas, dial: Dialler) -> None:
    """The first message stays as it was."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    await alice.say(conversation, "first", client_message_id="m1")
    for content in ("other", [{"type": "text", "text": "first"}], ""):
        error = await alice.refusal(
            "send_message",
            conversation_id=conversation,
            client_message_id="m1",
            content=content,
            agent=None,
        )
        assert (error["code"], error["retryable"]) == ("conflict", False)
    assert [m["content"] for m in await alice.history(conversation)] == ["first"]


async def test_order_of_names_in_content_makes_no_difference(
    replicas: Replicas, dial: Dialler
) -> None:
    """JSON objects have no order: a client that serialises anew is not told of a conflict."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    first = await alice.say(conversation, [{"type": "x", "a": 1}], client_message_id="m1")
    again = await alice.say(conversation, [{"a": 1, "type": "x"}], client_message_id="m1")
    assert the_same(first, again)


async def test_id_is_unique_for_its_author_and_conversation_only(
    replicas: Replicas, dial: Dialler
) -> None:
    """Bob's m1 and Alice's m1, and m1 in another conversation, are different messages."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(participants=["bob"])
    other = await alice.create()
    replies = [
        await alice.say(conversation, "from Alice", client_message_id="m1"),
        await bob.say(conversation, "from Bob", client_message_id="m1"),
        await alice.say(other, "elsewhere", client_message_id="m1"),
    ]
    assert [reply["duplicate"] for reply in replies] == [False] * 3
    assert len({reply["message_id"] for reply in replies}) == 3


async def test_fifty_concurrent_sends_of_one_message_store_it_once(
    replicas: Replicas, dial: Dialler
) -> None:
    """Exactly one is told `duplicate: false`."""
    devices = [await dial(replicas[n % 2]) for n in range(10)]
    conversation = await devices[0].create()
    replies = await asyncio.gather(
        *(
            devices[n % 10].say(conversation, "once", client_message_id="m1", id=f"r{n}")
            for n in range(50)
        )
    )
    assert [reply["duplicate"] for reply in replies].count(False) == 1
    assert len({reply["message_id"] for reply in replies}) == 1
    assert len(await devices[0].history(conversation)) == 1


async def test_without_conversation_a_retry_finds_the_one_it_created(
    replicas: Replicas, dial: Dialler
) -> None:
    """A first message sent twice, also at the same time, creates one conversation."""
    devices = [await dial(replicas[n % 2]) for n in range(8)]
    fields = {"client_message_id": "hello-1", "content": "hello", "agent": None}
    replies = await asyncio.gather(
        *(device.request("send_message", **fields) for device in devices)
    )
    assert len({reply["conversation_id"] for reply in replies}) == 1
    assert len({reply["message_id"] for reply in replies}) == 1
    assert [reply["duplicate"] for reply in replies].count(False) == 1
    listed = await devices[0].request("list_conversations")
    assert len(listed["conversations"]) == 1
    error = await devices[1].refusal("send_message", **(fields | {"content": "other"}))
    assert error["code"] == "conflict"
    second = await devices[0].request("send_message", **(fields | {"client_message_id": "h2"}))
    assert second["conversation_id"] != replies[0]["conversation_id"]
    bob = await dial(replicas[0], "bob")
    his = await bob.request("send_message", **fields)
    assert his["conversation_id"] not in {replies[0]["conversation_id"], second["conversation_id"]}
    assert his["duplicate"] is False


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_duplicates_are_known_after_a_restart_of_redis(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, how: str
) -> None:
    """Same and other content, with and without a conversation, are judged as before."""
    redis = await own_redis(appendfsync="always")  # see test_kills.py
    gateway = await in_process(redis_url=redis.url)
    alice = await dial(gateway)
    fields = {"client_message_id": "m0", "content": "starts one", "agent": None}
    started = await alice.request("send_message", **fields)
    conversation = started["conversation_id"]
    first = await alice.say(conversation, "text", client_message_id="m1")
    if how == "kill":
        redis.kill()
    else:
        await redis.stop()
    await redis.start()
    later = await dial(await in_process(redis_url=redis.url))
    assert the_same(first, await later.say(conversation, "text", client_message_id="m1"))
    assert the_same(started, await later.request("send_message", **fields))
    error = await later.refusal(
        "send_message",
        conversation_id=conversation,
        client_message_id="m1",
        content="other",
        agent=None,
    )
    assert error["code"] == "conflict"
    history = await later.history(conversation)
    assert [m["content"] for m in history] == ["starts one", "text"]


async def test_id_stays_unique_after_the_log_was_trimmed(
    in_process: InProcess, dial: Dialler
) -> None:
    """What the log no longer holds is still known: the id lives as long as the conversation."""
    gateway = await in_process(log_max_events=10)
    alice = await dial(gateway)
    conversation = await alice.create()
    first = await alice.say(conversation, "message 0", client_message_id="m0")
    for n in range(1, 150):
        await alice.say(conversation, f"message {n}", client_message_id=f"m{n}")
    assert the_same(first, await alice.say(conversation, "message 0", client_message_id="m0"))
    assert len(await alice.history(conversation)) == 150


async def test_create_conversation_repeated_with_the_same_id_is_one(
    replicas: Replicas, dial: Dialler
) -> None:
    """A retry of a creation whose reply was lost finds the conversation."""
    alice = await dial(replicas[0])
    assert await alice.create(conversation_id="c-1", title="same") == "c-1"
    assert await alice.create(conversation_id="c-1", title="same") == "c-1"
    error = await alice.refusal("create_conversation", conversation_id="c-1", title="other")
    assert error["code"] == "conflict"
    about = await alice.request("get_conversation", conversation_id="c-1")
    assert about["title"] == "same"


async def test_concurrent_creations_of_one_conversation_make_one(
    replicas: Replicas, dial: Dialler
) -> None:
    """Twenty devices create the same: one log, one CONVERSATION_CREATED, all may write."""
    devices = [await dial(replicas[n % 2]) for n in range(20)]
    names = await asyncio.gather(
        *(device.create(conversation_id="c-1", title="same") for device in devices)
    )
    assert set(names) == {"c-1"}
    replies = await asyncio.gather(
        *(device.say("c-1", f"{n}", client_message_id=f"m{n}") for n, device in enumerate(devices))
    )
    offsets = sorted(reply["offset"] for reply in replies)
    assert offsets == list(range(offsets[0], offsets[0] + 20))
    late = await dial(replicas[0])
    await late.request(
        "join_conversation",
        conversation_id="c-1",
        cursor={"epoch": replies[0]["epoch"], "offset": 0},
    )
    await late.live("c-1")
    kinds = [event["event"]["type"] for event in late.log("c-1").events]
    assert kinds[0] == "CONVERSATION_CREATED"
    assert kinds.count("CONVERSATION_CREATED") == 1
    assert kinds[-20:] == ["MESSAGE_CREATED"] * 20
