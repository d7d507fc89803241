"""What was deleted or edited away is in no log any more, neither in Redis nor in a replica.

Its entry stays, at the same offset: who resumes hears every offset once and in order, and ends with
what there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.store.keys import Keys
from tests.support.reduced import contents, texts

if TYPE_CHECKING:
    from tests.conftest import Replicas, Store
    from tests.support.dialling import Dialler
    from tests.support.wire import Message, WireClient

SECRET = "the-password-is-hunter2"
BEGINNING = 0


async def everything_kept(store: Store, tenant: str, conversation: str) -> str:
    """Return all that Redis holds of a conversation, as text."""
    found: list[object] = []
    base = Keys().conversation(tenant, conversation).base
    for name in [base, *await store.keys(f"{base}:*")]:
        read = {
            "list": ("LRANGE", name, 0, -1),
            "hash": ("HGETALL", name),
            "zset": ("ZRANGE", name, 0, -1),
            "string": ("GET", name),
        }[(await store.node.call("TYPE", name))]
        found.append(await store.node.call(*read))
    return str(found)


async def heard_from_the_beginning(
    client: WireClient, conversation: str, last: Message
) -> list[Message]:
    """Join with a cursor before all events; return those that come."""
    joined = await client.request(
        "join_conversation",
        conversation_id=conversation,
        cursor={"epoch": last["epoch"], "offset": BEGINNING},
    )
    await client.live(conversation)
    assert joined["mode"] == "tail"
    assert [e["offset"] for e in client.log(conversation).events] == list(
        range(1, joined["offset"] + 1)
    )
    return client.log(conversation).events


async def change(
    client: WireClient, kind: str, conversation: str, said: Message, **to: str
) -> None:
    """Edit or delete a message; wait until the client has heard of it."""
    await client.request(kind, conversation_id=conversation, message_id=said["message_id"], **to)
    where = await client.request("get_conversation", conversation_id=conversation)
    await client.heard(conversation, where["position"]["offset"])


@pytest.mark.parametrize("replica", [0, 1])
async def test_a_deleted_message_is_read_by_nobody_who_comes_later(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str, replica: int
) -> None:
    """Not in Redis, not from a replica's memory: its entry says that it was deleted."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(visibility="open")
    await bob.request("join_conversation", conversation_id=conversation)
    await alice.say(conversation, "before")
    said = await alice.say(conversation, SECRET)
    await bob.heard(conversation, said["offset"])
    await change(alice, "delete_message", conversation, said)
    last = await alice.say(conversation, "after")
    await bob.heard(conversation, last["offset"])
    assert SECRET not in await everything_kept(store, tenant, conversation)
    assert contents(bob.log(conversation)) == contents(alice.log(conversation))

    carol = await dial(replicas[replica], "carol")
    events = await heard_from_the_beginning(carol, conversation, last)
    assert SECRET not in texts(carol.log(conversation))
    assert events[said["offset"] - 1]["event"] == {
        "type": "MESSAGE_DELETED",
        "messageId": said["message_id"],
    }
    assert list(contents(carol.log(conversation)).values()) == ["before", "after"]


@pytest.mark.parametrize("replica", [0, 1])
async def test_what_a_message_said_before_its_edits_is_read_by_nobody_who_comes_later(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str, replica: int
) -> None:
    """The entry of its creation holds what it says now; those of earlier edits hold no text."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(visibility="open")
    await bob.request("join_conversation", conversation_id=conversation)
    said = await alice.say(conversation, f"{SECRET} 1")
    for number in (2, 3):
        new = f"{SECRET} {number}"
        await change(alice, "edit_message", conversation, said, content=new)
    await change(alice, "edit_message", conversation, said, content="nothing")
    last = await alice.say(conversation, "after")
    await bob.heard(conversation, last["offset"])
    assert SECRET not in await everything_kept(store, tenant, conversation)

    carol = await dial(replicas[replica], "carol")
    events = await heard_from_the_beginning(carol, conversation, last)
    assert SECRET not in texts(carol.log(conversation))
    at = said["offset"]
    created, second, third, fourth = (event["event"] for event in events[at - 1 : at + 3])
    removed = {
        "type": "CUSTOM",
        "name": "text_removed",
        "value": {"messageId": said["message_id"]},
    }
    assert (created["type"], created["message"]["content"]) == ("MESSAGE_CREATED", "nothing")
    assert (second, third) == (removed, removed)
    assert fourth == {"type": "MESSAGE_UPDATED", "message": created["message"]}
    assert list(contents(carol.log(conversation)).values()) == ["nothing", "after"]

    await change(alice, "delete_message", conversation, said)
    assert "nothing" not in await everything_kept(store, tenant, conversation)


@pytest.mark.parametrize("stood_at", ["before it", "at it", "at its edit"])
async def test_who_was_away_while_a_message_was_deleted_ends_with_what_there_is(
    replicas: Replicas, dial: Dialler, stood_at: str
) -> None:
    """Wherever they stood: with the message, with what it was before an edit, or without it."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(participants=["bob"])
    await bob.request("join_conversation", conversation_id=conversation)
    first = await alice.say(conversation, "first")
    await bob.heard(conversation, first["offset"])
    if stood_at == "before it":
        await bob.vanish()
    said = await alice.say(conversation, SECRET)
    if stood_at == "at it":
        await bob.heard(conversation, said["offset"])
        await bob.vanish()
    await change(alice, "edit_message", conversation, said, content=f"{SECRET}!")
    if stood_at == "at its edit":
        await bob.heard(conversation, said["offset"] + 1)
        await bob.vanish()
    await change(alice, "delete_message", conversation, said)

    again = await dial(replicas[1], "bob")
    ready = await again.restore(bob)
    assert ready["conversations"][conversation]["mode"] == "tail"
    assert list(contents(again.log(conversation)).values()) == ["first"]


async def test_a_deletion_that_was_cut_short_is_completed_when_it_is_repeated(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str
) -> None:
    """A gateway may die between two of its steps; `not_found` is told all the same."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    said = await alice.say(conversation, "words")
    await change(alice, "delete_message", conversation, said)
    keys = Keys().conversation(tenant, conversation)
    left = (
        f'{{"type":"TEXT_MESSAGE_CONTENT","messageId":"{said["message_id"]}","delta":"{SECRET}"}}'
    )
    await store.node.call("LSET", keys.log, said["offset"] - 1, left)
    kept = await store.node.call("HGET", f"{keys.base}:ids", said["message_id"])
    await store.node.call(
        "HSET", f"{keys.base}:ids", said["message_id"], f"{kept}1-{said['offset']}"
    )
    refused = await alice.refusal(
        "delete_message", conversation_id=conversation, message_id=said["message_id"]
    )
    assert refused["code"] == "not_found"
    assert SECRET not in await everything_kept(store, tenant, conversation)


@pytest.mark.parametrize("how", ["edited", "deleted"])
async def test_text_of_edits_by_an_earlier_version_goes_too(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str, how: str
) -> None:
    """It did not note where they are in the log: all that may hold one is looked through."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    said = await alice.say(conversation, "words")
    for number in range(2):
        await change(alice, "edit_message", conversation, said, content=f"{SECRET} {number}")
    keys = Keys().conversation(tenant, conversation)
    kept = await store.node.call("HGET", f"{keys.base}:ids", said["message_id"])
    await store.node.call("HSET", f"{keys.base}:ids", said["message_id"], kept.rsplit(":", 1)[0])
    earlier = await store.node.call("LINDEX", keys.log, -1)
    await store.node.call("LSET", keys.log, -2, earlier.replace(f"{SECRET} 1", f"{SECRET} 0"))
    if how == "edited":
        await change(alice, "edit_message", conversation, said, content="nothing")
    else:
        await change(alice, "delete_message", conversation, said)
    assert SECRET not in await everything_kept(store, tenant, conversation)
