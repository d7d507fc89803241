"""A conversation made with `history: from_joining` shows nobody what was before they joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.reduced import contents, texts

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import Message, WireClient

SECRET = "said before bob came"


async def joined_later(
    replicas: Replicas, dial: Dialler, **fields: Any
) -> tuple[WireClient, WireClient, str, Message]:
    """Return alice, bob who joined after her secret, their conversation, and the secret."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    wanted = {"visibility": "open", "history": "from_joining"} | fields
    conversation = await alice.create(**wanted)
    said = await alice.say(conversation, SECRET)
    await bob.request("join_conversation", conversation_id=conversation)
    return alice, bob, conversation, said


@pytest.mark.parametrize("history", ["all", "from_joining"])
async def test_the_kind_is_told_with_the_conversation(
    replicas: Replicas, dial: Dialler, history: str
) -> None:
    """By `create_conversation` and `get_conversation`; `all`, if left out."""
    alice = await dial(replicas[0])
    fields = {} if history == "all" else {"history": history}
    made = await alice.request("create_conversation", conversation_id="c_1", **fields)
    again = await alice.request("create_conversation", conversation_id="c_1", **fields)
    read = await alice.request("get_conversation", conversation_id="c_1")
    assert made["history"] == again["history"] == read["history"] == history
    other = "all" if fields else "from_joining"
    refused = await alice.refusal("create_conversation", conversation_id="c_1", history=other)
    assert refused["code"] == "conflict"
    refused = await alice.refusal("create_conversation", history="none")
    assert refused["code"] == "bad_request"
    assert "$.history" in refused["message"]


async def test_history_and_search_begin_where_one_joined(replicas: Replicas, dial: Dialler) -> None:
    """Whatever is asked for; who was there from the beginning sees all."""
    alice, bob, conversation, said = await joined_later(replicas, dial)
    await bob.say(conversation, "hello")
    for asked in ({}, {"after": 0}, {"before": 9}, {"limit": 1, "before": 2}):
        page = await bob.request("get_conversation_history", conversation_id=conversation, **asked)
        assert SECRET not in str(page)
        assert page["has_more"] is False
    found = await bob.request("search_messages", conversation_id=conversation, query="said")
    assert found["messages"] == []
    assert [m["content"] for m in await alice.history(conversation)] == [SECRET, "hello"]
    for kind, to in (("edit_message", {"content": "x"}), ("delete_message", {})):
        refused = await bob.refusal(
            kind, conversation_id=conversation, message_id=said["message_id"], **to
        )
        assert refused["code"] == "not_found"


@pytest.mark.parametrize("offset", [0, 2, 3])
@pytest.mark.parametrize("replica", [0, 1])
async def test_a_cursor_before_one_joined_gets_a_snapshot_without_the_past(
    replicas: Replicas, dial: Dialler, offset: int, replica: int
) -> None:
    """Read from the log or from a replica's memory; then it goes on without a gap."""
    alice, bob, conversation, said = await joined_later(replicas, dial)
    await bob.say(conversation, "hello")
    again = await dial(replicas[replica], "bob")
    joined = await again.request(
        "join_conversation",
        conversation_id=conversation,
        cursor={"epoch": said["epoch"], "offset": offset},
    )
    await again.live(conversation)
    assert joined["mode"] == ("tail" if offset >= said["offset"] else "snapshot")
    last = await alice.say(conversation, "goes on")
    await again.heard(conversation, last["offset"])
    assert SECRET not in texts(again.log(conversation))
    assert list(contents(again.log(conversation)).values()) == ["hello", "goes on"]
    assert not any(snapshot["has_more"] for snapshot in again.log(conversation).snapshots)


async def test_who_comes_back_sees_what_is_said_from_then_on(
    replicas: Replicas, dial: Dialler
) -> None:
    """Also not what they saw, or said, before they left."""
    alice, bob, conversation, _ = await joined_later(replicas, dial)
    own = await bob.say(conversation, "bob was here", client_message_id="once")
    await bob.request("leave_conversation", conversation_id=conversation)
    await alice.say(conversation, "while bob was away")
    await alice.request("add_participant", conversation_id=conversation, subject="bob")
    after = await alice.say(conversation, "bob is back")
    again = await dial(replicas[0], "bob")
    assert [m["content"] for m in await again.history(conversation)] == ["bob is back"]
    same = await again.say(conversation, "bob was here", client_message_id="once")
    assert (same["duplicate"], same["offset"]) == (True, own["offset"])
    await again.heard(conversation, after["offset"])
    heard = texts(again.log(conversation))
    assert "bob is back" in heard
    assert "away" not in heard


async def test_another_role_is_no_new_joining(replicas: Replicas, dial: Dialler) -> None:
    """Nor does it show more."""
    alice, bob, conversation, _ = await joined_later(replicas, dial)
    await alice.say(conversation, "for both")
    for role in ("observer", "owner"):
        await alice.request(
            "add_participant", conversation_id=conversation, subject="bob", role=role
        )
        assert [m["content"] for m in await bob.history(conversation)] == ["for both"]


async def test_an_edit_of_a_message_is_shown_to_those_who_see_the_message(
    replicas: Replicas, dial: Dialler
) -> None:
    """Live and in a replay. The others get `hidden_event` in its place."""
    alice, bob, conversation, said = await joined_later(replicas, dial)
    for number in range(3):
        await alice.request(
            "edit_message",
            conversation_id=conversation,
            message_id=said["message_id"],
            content=f"{SECRET} {number}",
        )
        where = (await alice.request("get_conversation", conversation_id=conversation))["position"]
        await alice.heard(conversation, where["offset"])
        await bob.heard(conversation, where["offset"])
    last = await alice.say(conversation, "for both")
    await bob.heard(conversation, last["offset"])
    await alice.heard(conversation, last["offset"])
    await bob.vanish()
    again = await dial(replicas[0], "bob")
    bob.log(conversation).offset = said["offset"]
    bob.log(conversation).events.clear()
    await again.restore(bob)
    for client in (bob, again):
        assert SECRET not in texts(client.log(conversation))
    hidden = again.log(conversation).of_type("CUSTOM")
    assert {event["event"]["name"] for event in hidden} == {"text_removed", "hidden_event"}
    edits = alice.log(conversation).of_type("MESSAGE_UPDATED")
    assert [event["event"]["message"]["content"][-1] for event in edits] == ["0", "1", "2"]
    assert contents(alice.log(conversation))[said["message_id"]] == f"{SECRET} 2"


async def test_older_versions_of_the_context_are_not_told(
    replicas: Replicas, dial: Dialler
) -> None:
    """The context is shown as it is now; what it was before one joined is no version."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(visibility="open", history="from_joining")

    async def remember(version: int) -> None:
        await alice.request(
            "update_agent_context",
            conversation_id=conversation,
            base_version=version,
            patch=[{"op": "add", "path": "/memory/n", "value": version + 1}],
        )

    for version in range(2):
        await remember(version)
    await bob.request("join_conversation", conversation_id=conversation)
    await remember(2)
    told = await bob.request("list_context_versions", conversation_id=conversation)
    assert [line["version"] for line in told["versions"]] == [3, 2]
    refused = await bob.refusal("rollback_agent_context", conversation_id=conversation, version=1)
    assert refused["code"] == "not_found"
    context = await bob.request("get_agent_context", conversation_id=conversation)
    assert context["memory"] == {"n": 3}


async def test_a_conversation_that_shows_all_shows_all(replicas: Replicas, dial: Dialler) -> None:
    """Nothing has changed for it."""
    _, bob, conversation, _ = await joined_later(replicas, dial, history="all")
    assert [m["content"] for m in await bob.history(conversation)] == [SECRET]


async def test_members_of_a_large_room_see_what_they_may(
    in_process: InProcess, dial: Dialler
) -> None:
    """Also the one at whom Redis makes the members' hash a table (lua/members.lua)."""
    gateway = await in_process()
    alice = await dial(gateway)
    conversation = await alice.create(history="from_joining")
    for number in range(66):
        await alice.request("add_participant", conversation_id=conversation, subject=f"s{number}")
    await alice.say(conversation, SECRET)
    await alice.request("add_participant", conversation_id=conversation, subject="bob")
    for name, sees in (("s0", True), ("s62", True), ("s63", True), ("s64", True), ("bob", False)):
        client = await dial(gateway, name)
        assert bool(await client.history(conversation)) is sees
