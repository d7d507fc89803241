"""Nobody reads or writes a conversation they are not part of; its existence is not revealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.protocol.roles import RIGHTS

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

REQUESTS: dict[str, dict[str, Any]] = {
    "get_conversation": {},
    "join_conversation": {},
    "join_conversation with cursor": {"cursor": {"epoch": "x", "offset": 0}},
    "leave_conversation": {},
    "send_message": {"client_message_id": "m1", "content": "intruding", "agent": None},
    "get_conversation_history": {},
    "get_agent_context": {},
    "update_agent_context": {
        "base_version": 0,
        "patch": [{"op": "add", "path": "/memory/x", "value": 1}],
    },
    "list_context_versions": {},
    "rollback_agent_context": {"version": 1},
    "add_participant": {"subject": "mallory"},
    "remove_participant": {"subject": "alice"},
    "create_invite": {},
    "list_invites": {},
    "revoke_invite": {"invite_id": "unknown"},
    "edit_message": {"message_id": "m_1", "content": "changed"},
    "delete_message": {"message_id": "m_1"},
    "search_messages": {"query": "secret"},
}
RUN_REQUESTS: dict[str, dict[str, Any]] = {
    "cancel_run": {"run_id": "r_1"},
    "respond_to_interrupt": {"run_id": "r_1", "interrupt_id": "i_1", "status": "cancelled"},
}
REQUESTS |= RUN_REQUESTS


async def a_private_conversation(dial: Dialler, replicas: Replicas) -> tuple[WireClient, str]:
    """Return Alice and a conversation of hers alone, with a message and a context."""
    alice = await dial(replicas[0])
    await alice.connect()
    conversation = await alice.create(title="secret title")
    await alice.say(conversation, "secret words")
    await alice.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=0,
        patch=[{"op": "add", "path": "/memory/secret", "value": "kept"}],
    )
    return alice, conversation


async def everything(client: WireClient, conversation: str) -> list[object]:
    """Return all there is to know of a conversation."""
    context = await client.request("get_agent_context", conversation_id=conversation)
    about = await client.request("get_conversation", conversation_id=conversation)
    for reply in (context, about):
        del reply["reply_to"]
    return [await client.history(conversation), context, about]


@pytest.mark.parametrize("who", ["another subject", "another tenant"])
@pytest.mark.parametrize("request_name", REQUESTS)
async def test_stranger_cannot_tell_a_conversation_from_none(
    replicas: Replicas, dial: Dialler, who: str, request_name: str
) -> None:
    """Each request gets the same error as for a conversation that is not there; nothing changes."""
    alice, conversation = await a_private_conversation(dial, replicas)
    before = await everything(alice, conversation)
    mallory = (
        await dial(replicas[1], "mallory")
        if who == "another subject"
        else await dial(replicas[1], "alice", tenant=f"{dial.tenant}-other")
    )
    kind, fields = request_name.split(maxsplit=1)[0], REQUESTS[request_name]
    real = await mallory.refusal(kind, conversation_id=conversation, **fields)
    absent = await mallory.refusal(kind, conversation_id="c_not_there", **fields)
    for error in (real, absent):
        del error["reply_to"]
    assert real == absent
    assert real["code"] == "not_found"
    assert await everything(alice, conversation) == before


async def test_stranger_hears_nothing(replicas: Replicas, dial: Dialler) -> None:
    """A cursor in `connect` or an `ack` does not attach to what one may not see."""
    alice, conversation = await a_private_conversation(dial, replicas)
    stranger = await dial(replicas[0], "mallory")
    ready = await stranger.connect(cursors={conversation: {"epoch": "x", "offset": 0}})
    assert conversation not in ready["conversations"]
    await stranger.send({"type": "ack", "cursors": {conversation: {"epoch": "x", "offset": 1}}})
    await stranger.send({"type": "typing", "conversation_id": conversation, "active": True})
    said = await alice.say(conversation, "more secret words")
    await alice.heard(conversation, said["offset"])
    await stranger.request("ping")
    assert conversation not in stranger.logs
    assert not [push for push in alice.pushes if push["type"] == "typing"]
    assert not [push for push in stranger.pushes if "conversation_id" in push]


async def test_same_conversation_id_in_two_tenants_is_two_conversations(
    replicas: Replicas, dial: Dialler
) -> None:
    """Names of one tenant never reach into another."""
    here = await dial(replicas[0])
    there = await dial(replicas[1], tenant=f"{dial.tenant}-other")
    for client, word in ((here, "here"), (there, "there")):
        assert await client.create(conversation_id="shared-name", title=word) == "shared-name"
        await client.say("shared-name", word, client_message_id="m1")
    for client, word in ((here, "here"), (there, "there")):
        assert [m["content"] for m in await client.history("shared-name")] == [word]
        listed = await client.request("list_conversations")
        assert [entry["title"] for entry in listed["conversations"]] == [word]


async def test_conversations_of_one_subject_do_not_mix(replicas: Replicas, dial: Dialler) -> None:
    """Messages, events and context of two conversations stay apart."""
    alice = await dial(replicas[0])
    names = [await alice.create(title=f"number {n}") for n in range(3)]
    for turn in range(5):
        for name in names:
            last = await alice.say(name, f"{name} {turn}", client_message_id=f"m{turn}")
    await alice.heard(names[-1], last["offset"])
    for name in names:
        assert [m["content"] for m in await alice.history(name)] == [
            f"{name} {turn}" for turn in range(5)
        ]
        assert [m["content"] for m in alice.log(name).messages] == [
            f"{name} {turn}" for turn in range(5)
        ]


async def test_open_conversation_may_be_joined_by_its_tenant_only(
    replicas: Replicas, dial: Dialler
) -> None:
    """`visibility: open` opens it to the subjects of the tenant, not to the world."""
    alice = await dial(replicas[0])
    conversation = await alice.create(visibility="open")
    bob = await dial(replicas[1], "bob")
    assert (await bob.request("join_conversation", conversation_id=conversation))[
        "type"
    ] == "joined"
    said = await bob.say(conversation, "hello")
    await alice.heard(conversation, said["offset"])
    stranger = await dial(replicas[1], "bob", tenant=f"{dial.tenant}-other")
    error = await stranger.refusal("join_conversation", conversation_id=conversation)
    assert error["code"] == "not_found"


async def test_who_was_removed_sees_and_hears_no_more(replicas: Replicas, dial: Dialler) -> None:
    """From the removal on, over open sockets and on other replicas, nothing reaches them."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(participants=["bob"])
    await bob.connect()
    await bob.request("join_conversation", conversation_id=conversation)
    first = await alice.say(conversation, "for both")
    await bob.heard(conversation, first["offset"])
    await alice.request("remove_participant", conversation_id=conversation, subject="bob")
    last = await alice.say(conversation, "for Alice only")
    await alice.heard(conversation, last["offset"])
    error = await bob.refusal("get_conversation_history", conversation_id=conversation)
    assert error["code"] == "not_found"
    assert "for Alice only" not in [m["content"] for m in bob.log(conversation).messages]
    again = await dial(replicas[0], "bob")
    ready = await again.resume(bob)
    assert conversation not in ready["conversations"]
    await again.request("ping")
    assert "for Alice only" not in [m["content"] for m in again.log(conversation).messages]


@pytest.mark.parametrize("role", ["owner", "member", "observer"])
@pytest.mark.parametrize("right", RIGHTS)
async def test_each_role_may_do_what_the_table_says(
    replicas: Replicas, dial: Dialler, right: str, role: str
) -> None:
    """A participant who may not is told `forbidden`, and nothing changes; one who may is not."""
    alice, olga = await dial(replicas[0]), await dial(replicas[1], "olga")
    conversation = await alice.create(participants=["olga"])
    said = await alice.say(conversation, "of Alice")
    own = await olga.say(conversation, "of Olga")
    await alice.request(
        "update_agent_context",
        conversation_id=conversation,
        **REQUESTS["update_agent_context"],
    )
    await alice.request("add_participant", conversation_id=conversation, subject="olga", role=role)
    before = await everything(alice, conversation)
    is_of_others = right == "delete_message_of_others"
    kind = "delete_message" if is_of_others else right
    fields = REQUESTS.get(kind, {"active": True})
    if "message_id" in fields:
        fields = fields | {"message_id": (said if is_of_others else own)["message_id"]}
    if "base_version" in fields:
        fields = fields | {"base_version": 1}
    may = role in RIGHTS[right]
    asked = await olga.start(kind, conversation_id=conversation, **fields)
    if kind == "typing":
        await (alice.until(lambda: typed(alice), what="typing") if may else olga.answer_to(asked))
        assert bool(typed(alice)) is may
        return
    answer = await olga.answer_to(asked)
    assert (answer.get("code") == "forbidden") is not may, answer
    if not may:
        assert await everything(alice, conversation) == before


def typed(client: WireClient) -> list[object]:
    """Return what the client was told of typing."""
    return [push for push in client.pushes if push["type"] == "typing"]


async def test_author_who_became_an_observer_writes_no_more(
    replicas: Replicas, dial: Dialler
) -> None:
    """Not by editing or deleting what they wrote, nor by typing."""
    alice, olga = await dial(replicas[0]), await dial(replicas[1], "olga")
    conversation = await alice.create(participants=["olga"])
    own = await olga.say(conversation, "of Olga")
    await alice.request(
        "add_participant", conversation_id=conversation, subject="olga", role="observer"
    )
    for kind, fields in (
        ("edit_message", {"message_id": own["message_id"], "content": "changed"}),
        ("delete_message", {"message_id": own["message_id"]}),
        ("typing", {"active": True}),
    ):
        error = await olga.refusal(kind, conversation_id=conversation, **fields)
        assert error["code"] == "forbidden", kind
    assert [m["content"] for m in await alice.history(conversation)] == ["of Olga"]
    assert not typed(alice)


async def test_subject_names_with_separators_do_not_collide(
    replicas: Replicas, dial: Dialler
) -> None:
    """Names that look like parts of keys, patterns or other tenants stay who they are."""
    names = ["a:b", "a", "a*", "{s00}", "x/../a", "ä ö", "a%3Ab", "u:a:session:s", "A"]
    made = {}
    for name in names:
        client = await dial(replicas[0], name)
        assert client.hello["subject"] == name
        made[name] = await client.create(title=name)
    for name in names:
        client = await dial(replicas[1], name)
        listed = await client.request("list_conversations")
        assert [entry["conversation_id"] for entry in listed["conversations"]] == [made[name]]


@pytest.mark.parametrize("subject", ["agent:demo", "a\u202eb", "a\x1b[2Jb"])
async def test_subject_that_looks_like_another_does_not_come_in(
    replicas: Replicas, dial: Dialler, subject: str
) -> None:
    """Nor is it let in by somebody else; `agent:demo` is the author of that agent's messages."""
    intruder = await dial(replicas[0], subject)
    assert await intruder.closed() == 4501
    alice = await dial(replicas[1])
    conversation = await alice.create()
    for kind, fields, at in (
        ("add_participant", {"conversation_id": conversation, "subject": subject}, "$.subject"),
        ("create_conversation", {"participants": ["bob", subject]}, "$.participants[1]"),
    ):
        error = await alice.refusal(kind, **fields)
        assert (error["code"], error["message"]) == (
            "bad_request",
            f"{at}: must be printable, and not begin with 'agent:'",
        )


@pytest.mark.parametrize("title", ["a\u202eb", "a\x1b[2Jb", "a\nb", "\u2066a"])
async def test_title_that_looks_like_another_is_refused(
    replicas: Replicas, dial: Dialler, title: str
) -> None:
    """It would be shown to everybody in the conversation."""
    alice = await dial(replicas[0])
    error = await alice.refusal("create_conversation", title=title)
    assert (error["code"], error["message"]) == (
        "bad_request",
        "$.title: must hold no control or direction characters",
    )


async def test_id_that_is_taken_cannot_be_told_from_one_that_is_reserved(
    replicas: Replicas, dial: Dialler
) -> None:
    """Creating a private conversation of somebody else's name; those one may know of conflict."""
    alice, mallory = await dial(replicas[0]), await dial(replicas[1], "mallory")
    taken, is_open = await alice.create(), await alice.create(visibility="open")
    shared = await alice.create(participants=["mallory"])
    answers = []
    for name in (taken, "gateway-anything", "gateway_anything"):
        error = await mallory.refusal("create_conversation", conversation_id=name, title="mine")
        del error["reply_to"]
        answers.append(error)
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["code"] == "forbidden"
    assert (await mallory.request("list_conversations"))["conversations"][1:] == []
    for name in (is_open, shared):
        error = await mallory.refusal("create_conversation", conversation_id=name, title="mine")
        assert error["code"] == "conflict"
    assert await alice.create(conversation_id=taken) == taken
