"""Frames: batches, empty ones, unknown fields, subprotocols, ids, order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler

codecs = pytest.mark.parametrize("codec", ["json", "msgpack"])


@codecs
async def test_hello_comes_first_and_tells_the_terms(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """Without a word from the client."""
    client = await dial(replicas[0], codec=codec)
    hello = client.hello
    assert hello["protocol"] == "gateway.v1"
    assert hello["subject"] == "alice"
    assert hello["tenant"] == dial.tenant
    assert hello["heartbeat"] == {"interval_s": 25, "timeout_s": 10}
    assert hello["limits"] == {
        "max_frame_bytes": 262_144,
        "max_content_bytes": 65_536,
        "history_page_max": 200,
    }
    assert isinstance(hello["server_time"], float)
    assert client.subprotocol == f"gateway.v1.{codec}"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["gateway.v1.json"], "gateway.v1.json"),
        (["other", "gateway.v1.json"], "gateway.v1.json"),
        (["gateway.v9.json", "gateway.v1.json"], "gateway.v1.json"),
    ],
)
async def test_without_a_known_subprotocol_frames_are_json(
    replicas: Replicas, dial: Dialler, offered: list[str], chosen: str | None
) -> None:
    """None offered: JSON."""
    client = await dial(replicas[0], subprotocols=offered)
    assert client.subprotocol == chosen
    assert (await client.request("ping"))["type"] == "pong"


@codecs
async def test_batch_is_answered_in_order(replicas: Replicas, dial: Dialler, codec: str) -> None:
    """An array of requests in one frame, wrong ones among them; each is answered in its turn."""
    client = await dial(replicas[0], codec=codec)
    conversation = await client.create()
    requests = await client.start_batch(
        {"type": "ping"},
        {
            "type": "send_message",
            "conversation_id": conversation,
            "client_message_id": "m1",
            "content": "in a batch",
            "agent": None,
        },
        {"type": "get_conversation_history", "conversation_id": conversation},
        {"type": "no_such_type"},
        {"type": "get_conversation_history", "conversation_id": conversation, "limit": "x"},
        {"type": "ping"},
    )
    replies = []
    for request in requests:
        try:
            replies.append(await client.reply_to(request))
        except RefusedRequest as refused:
            replies.append(refused.error)
    assert [reply["type"] for reply in replies] == [
        "pong",
        "message_accepted",
        "conversation_history",
        "error",
        "error",
        "pong",
    ]
    assert [m["content"] for m in replies[2]["messages"]] == ["in a batch"]
    assert [replies[3]["code"], replies[4]["code"]] == ["unknown_type", "bad_request"]


@codecs
async def test_wrong_member_of_a_batch_costs_itself_only(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """A member that is no request at all is told; its neighbours are answered."""
    client = await dial(replicas[0], codec=codec)
    for odd in (5, None, "ping", [], [{"type": "ping"}]):
        (first,) = await client.start_batch({"type": "ping"})
        await client.send([odd])
        (last,) = await client.start_batch({"type": "ping"})
        await client.reply_to(first)
        await client.reply_to(last)
        error = await client.push("error")
        client.pushes.remove(error)
        assert error["code"] == "bad_request"


@codecs
async def test_empty_frames_and_empty_batches_are_ignored(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """They are answered with nothing."""
    client = await dial(replicas[0], codec=codec)
    for _ in range(3):
        await client.send_raw("" if codec == "json" else b"")
    await client.send([])
    assert (await client.request("ping"))["type"] == "pong"
    assert [push["type"] for push in client.pushes if push["type"] == "error"] == []


@codecs
async def test_batch_over_its_limit_is_refused_whole(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """More members than allowed: one error, and none of them is done."""
    gateway = await in_process(max_batch=10)
    client = await dial(gateway, codec=codec)
    await client.send([{"type": "create_conversation"}] * 11)
    error = await client.push("error")
    assert error["code"] in {"bad_request", "too_large"}
    listed = await client.request("list_conversations")
    assert listed["conversations"] == []


@codecs
async def test_unknown_fields_are_ignored(replicas: Replicas, dial: Dialler, codec: str) -> None:
    """A newer client's words do no harm."""
    client = await dial(replicas[0], codec=codec)
    ready = await client.connect(future={"a": [1, None]}, client={"name": "x", "new": 1})
    assert ready["resumed"] is False
    conversation = await client.create(future=True)
    assert (await client.say(conversation, "x", future=1.5))["type"] == "message_accepted"


@codecs
@pytest.mark.parametrize("request_id", ["x" * 64, "", "ü🦜", 0, -1, 2**53, 2**63 - 1])
async def test_id_comes_back_as_it_was(
    replicas: Replicas, dial: Dialler, codec: str, request_id: str | int
) -> None:
    """A string of at most 64 characters or an integer, in replies and in errors."""
    client = await dial(replicas[0], codec=codec)
    reply = await client.request("ping", id=request_id)
    assert reply["reply_to"] == request_id
    error = await client.refusal("no_such_type", id=request_id)
    assert error["reply_to"] == request_id


async def test_request_without_id_is_answered_without_reply_to(
    replicas: Replicas, dial: Dialler
) -> None:
    """The reply looks like a push."""
    client = await dial(replicas[0])
    await client.send({"type": "ping"})
    pong = await client.push("pong")
    assert pong.get("reply_to") is None


async def test_any_request_implies_connect(replicas: Replicas, dial: Dialler) -> None:
    """Without `connect` there is a new session all the same: its events come."""
    client = await dial(replicas[0])
    conversation = await client.create()
    said = await client.say(conversation, "no connect before")
    await client.heard(conversation, said["offset"])


async def test_second_connect_is_refused(replicas: Replicas, dial: Dialler) -> None:
    """A connection has one session; the error changes nothing."""
    client = await dial(replicas[0])
    first = await client.connect()
    error = await client.refusal("connect")
    assert error["code"] in {"bad_request", "conflict"}
    assert client.session == first
    assert (await client.request("ping"))["type"] == "pong"


async def test_unfinished_features_are_told_as_such(replicas: Replicas, dial: Dialler) -> None:
    """An agent that nobody runs is refused before anything is stored."""
    client = await dial(replicas[0])
    conversation = await client.create()
    error = await client.refusal(
        "send_message",
        conversation_id=conversation,
        client_message_id="m1",
        content="x",
        agent="nobody",
    )
    assert error["code"] in {"bad_request", "not_found"}
    assert "$.agent" in error["message"]
    assert await client.history(conversation) == []


@codecs
async def test_pushes_have_no_reply_to_and_replies_have_it(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """So that a client can tell them apart."""
    alice = await dial(replicas[0], codec=codec)
    bob = await dial(replicas[1], "bob", codec=codec)
    conversation = await alice.create(participants=["bob"])
    await bob.request("join_conversation", conversation_id=conversation)
    await bob.send({"type": "typing", "conversation_id": conversation, "active": True})
    typing = await alice.push("typing")
    assert typing["subject"] == "bob"
    assert typing["active"] is True
    said = await bob.say(conversation, "x")
    await alice.heard(conversation, said["offset"])
    pushes = [*alice.pushes, *bob.pushes, *alice.log(conversation).events]
    assert not [push for push in pushes if "reply_to" in push]


async def test_presence_tells_who_comes_and_goes(replicas: Replicas, dial: Dialler) -> None:
    """Across replicas, and in `get_conversation` too."""
    alice = await dial(replicas[0])
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    bob = await dial(replicas[1], "bob")
    await bob.request("join_conversation", conversation_id=conversation)
    await alice.push("presence", subject="bob", online=True, conversation_id=conversation)
    about = await alice.request("get_conversation", conversation_id=conversation)
    assert {p["subject"]: p["online"] for p in about["participants"]} == {
        "alice": True,
        "bob": True,
    }
    await bob.vanish()
    await alice.push("presence", subject="bob", online=False, conversation_id=conversation)
    about = await alice.request("get_conversation", conversation_id=conversation)
    assert {p["subject"]: p["online"] for p in about["participants"]}["bob"] is False
