"""What is nearly right is said to be wrong: a field's name, a value, a field left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

MISSPELT: list[tuple[str, dict[str, Any], str, str]] = [
    ("send_message", {"conversation": "c_1"}, "conversation", "conversation_id"),
    ("send_message", {"conversationId": "c_1"}, "conversationId", "conversation_id"),
    ("send_message", {"agents": None}, "agents", "agent"),
    ("create_conversation", {"participant": ["bob"]}, "participant", "participants"),
    ("list_conversations", {"Limit": 1}, "Limit", "limit"),
]
SAY = {"client_message_id": "m1", "content": "hi", "agent": None}


def unknown_fields(client: WireClient) -> list[str]:
    """Return the warnings about unknown fields that came."""
    return [
        push["message"]
        for push in client.pushes
        if push["type"] == "session_warning" and push["code"] == "unknown_field"
    ]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize(("request_type", "fields", "field", "meant"), MISSPELT)
async def test_misspelt_field_is_warned_of(
    replicas: Replicas,
    dial: Dialler,
    *,
    codec: str,
    request_type: str,
    fields: dict[str, Any],
    field: str,
    meant: str,
) -> None:
    """The request is done without it, as the protocol says, and a warning names both fields."""
    alice = await dial(replicas[0], codec=codec)
    said = SAY if request_type == "send_message" else {}
    known = {name: value for name, value in said.items() if name != meant}
    await alice.request(request_type, **(known | fields))
    warning = await alice.push("session_warning", code="unknown_field")
    for word in (f"$.{field}", request_type, meant):
        assert word in warning["message"]


async def test_misspelt_field_of_connect_is_warned_of(replicas: Replicas, dial: Dialler) -> None:
    """A session that is not resumed for `sessionId` is noticed."""
    alice = await dial(replicas[0])
    ready = await alice.connect(sessionId="s_1", resume_token="r")
    assert ready["resumed"] is False
    warning = await alice.push("session_warning", code="unknown_field")
    assert "session_id" in warning["message"]


async def test_a_misspelling_is_warned_of_once(replicas: Replicas, dial: Dialler) -> None:
    """A program repeats its mistakes; its user reads of each once."""
    alice = await dial(replicas[0])
    for n in range(5):
        await alice.request("send_message", **(SAY | {"client_message_id": f"m{n}", "conv_id": n}))
        await alice.request("send_message", conversation="c", **SAY)
    await alice.request("ping")
    assert len(unknown_fields(alice)) == 1


@pytest.mark.parametrize("field", ["x", "later", "trace_id", "timestamp", "é" * 300])
async def test_unknown_field_that_is_like_no_other_is_ignored(
    replicas: Replicas, dial: Dialler, field: str
) -> None:
    """A newer client may say more."""
    alice = await dial(replicas[0])
    await alice.request("send_message", **(SAY | {field: 1}))
    await alice.request("list_conversations", **{field: 1})
    await alice.request("ping")
    assert not unknown_fields(alice)


async def test_field_that_is_missing_is_named_with_the_one_it_may_be_meant_by(
    replicas: Replicas, dial: Dialler
) -> None:
    """Both are in the error."""
    alice = await dial(replicas[0])
    error = await alice.refusal("get_conversation", conversation="c_1")
    assert error["code"] == "bad_request"
    assert error["message"].startswith("$.conversation_id: missing")
    assert "$.conversation " in error["message"]
    error = await alice.refusal("join_conversation", conversation_id="c", cursor={"epoch": "e"})
    assert error["message"] == "$.cursor.offset: missing"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("request_type", "fields", "place", "values"),
    [
        ("create_conversation", {"visibility": "public"}, "$.visibility", ("private", "open")),
        (
            "send_message",
            SAY | {"if_running": "queue"},
            "$.if_running",
            ("reject", "enqueue", "interrupt"),
        ),
        (
            "add_participant",
            {"conversation_id": "c", "subject": "bob", "role": "admin"},
            "$.role",
            ("owner", "member", "observer"),
        ),
    ],
)
async def test_value_that_is_none_of_the_allowed_is_told_which_they_are(
    replicas: Replicas,
    dial: Dialler,
    *,
    codec: str,
    request_type: str,
    fields: dict[str, Any],
    place: str,
    values: tuple[str, ...],
) -> None:
    """The error names the field and every value it may have, and does not repeat the bad one."""
    alice = await dial(replicas[0], codec=codec)
    error = await alice.refusal(request_type, **fields)
    assert error["code"] == "bad_request"
    assert error["message"].startswith(place)
    for value in values:
        assert value in error["message"]


async def test_bad_value_is_not_sent_back(replicas: Replicas, dial: Dialler) -> None:
    """An error is short however long the value was."""
    alice = await dial(replicas[0])
    error = await alice.refusal("create_conversation", visibility="x" * 50_000)
    assert len(error["message"]) < 200
