"""A reply that was deleted is in no log any more: neither its message nor the pieces it came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.store.keys import Keys
from tests.support.reduced import contents, texts

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive, Gateways
    from tests.promises.runs.person import Person
    from tests.support.redis_node import RedisNode

COUNT = "/count 30 5"
COUNTED = " ".join(str(number) for number in range(1, 31))


async def delete_reply(person: Person, run_id: str) -> dict[str, Any]:
    """Delete the message of a run; return it as it was."""
    message = person.run(run_id).message
    assert message is not None
    reply = await person.client.request(
        "delete_message",
        conversation_id=person.conversation,
        message_id=message["message_id"],
    )
    await person.sees(lambda: person.log.of_type("MESSAGE_DELETED"), what="the deletion")
    return reply["message"]


async def log_of(redis: RedisNode, tenant: str, conversation: str) -> str:
    """Return the log as Redis has it."""
    return str(await redis.call("LRANGE", Keys().conversation(tenant, conversation).log, 0, -1))


@pytest.mark.parametrize("replica", [0, 1])
async def test_who_comes_after_the_deletion_of_a_reply_hears_nothing_of_it(
    stage: Gateways, stage_redis: RedisNode, arrive: Arrive, tenant: str, replica: int
) -> None:
    """From Redis and from memory; every offset is there, and the run as it was."""
    alice = await arrive(stage[0])
    await alice.create(visibility="open")
    run_id = await alice.ask(COUNT)
    await alice.sees_end(run_id)
    message = await delete_reply(alice, run_id)
    assert message["content"] == COUNTED
    found = await log_of(stage_redis, tenant, alice.conversation)
    assert message["message_id"] in found
    assert "TEXT_MESSAGE_CONTENT" not in found
    assert COUNTED not in found

    bob = await arrive(stage[replica], "bob")
    cursor = {"epoch": alice.log.epoch, "offset": 0}
    await bob.join(alice.conversation, cursor=cursor)
    heard = [event["event"] for event in bob.log.events]
    assert "TEXT_MESSAGE_CONTENT" not in texts(bob.log)
    assert COUNTED not in texts(bob.log)
    assert [event["type"] for event in heard if event["type"].startswith("RUN_")] == [
        "RUN_STARTED",
        "RUN_FINISHED",
    ]
    deleted = {"type": "MESSAGE_DELETED", "messageId": message["message_id"]}
    assert heard.count(deleted) == 2
    assert list(contents(bob.log).values()) == [COUNT]


async def test_who_dropped_out_in_the_middle_of_a_reply_that_is_deleted_ends_without_it(
    stage: Gateways, arrive: Arrive
) -> None:
    """What they have of it, the deletion takes away."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask(COUNT)
    await bob.reads(run_id, " 10 ")
    await bob.client.vanish()
    await alice.sees_end(run_id)
    message = await delete_reply(alice, run_id)
    ready = await bob.resumes(stage[0])
    assert ready["conversations"][alice.conversation]["mode"] == "tail"
    await bob.client.live(alice.conversation)
    assert message["message_id"] not in contents(bob.log)
    assert bob.log.of_type("MESSAGE_DELETED")[-1]["event"]["messageId"] == message["message_id"]


async def test_tool_calls_of_before_are_not_shown_to_who_joined_later(
    stage: Gateways, arrive: Arrive
) -> None:
    """In a conversation that shows its history from joining on; the context is as it is now."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await alice.create(visibility="open", history="from_joining")
    await alice.sees_end(await alice.ask("/tool lookup 1"))
    await bob.join(alice.conversation)
    assert (await bob.context())["tool_calls"] == []
    await alice.sees_end(await alice.ask("/tool lookup 2"))
    (call,) = (await bob.context())["tool_calls"]
    assert "2" in call["arguments"]
    assert len((await alice.context())["tool_calls"]) == 2
    await bob.client.request(
        "join_conversation",
        conversation_id=bob.conversation,
        cursor={"epoch": "", "offset": 0},
    )
    await bob.client.live(bob.conversation)
    (snapshot,) = bob.log.snapshots
    assert snapshot["context"]["tool_calls"] == [call]
