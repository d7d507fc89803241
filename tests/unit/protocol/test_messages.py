"""The words of the wire, against the protocol's own list."""

from __future__ import annotations

import msgspec
import pytest

from gateway.codes import ErrorCode
from gateway.protocol import messages
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Push, Reply, Request

REQUEST_TYPES = {
    "connect",
    "ping",
    "refresh_token",
    "create_conversation",
    "get_conversation",
    "list_conversations",
    "join_conversation",
    "leave_conversation",
    "send_message",
    "cancel_run",
    "get_conversation_history",
    "get_agent_context",
    "update_agent_context",
    "list_context_versions",
    "rollback_agent_context",
    "respond_to_interrupt",
    "add_participant",
    "remove_participant",
    "create_invite",
    "list_invites",
    "revoke_invite",
    "edit_message",
    "delete_message",
    "search_messages",
    "typing",
    "ack",
}
REPLY_TYPES = {
    "error",
    "pong",
    "token_refreshed",
    "session_ready",
    "conversation",
    "conversations",
    "joined",
    "left",
    "message_accepted",
    "run_cancelled",
    "conversation_history",
    "agent_context",
    "agent_context_updated",
    "context_versions",
    "interrupt_resolved",
    "invite",
    "invites",
    "invite_revoked",
    "message_updated",
    "search_results",
}
PUSH_TYPES = {
    "hello",
    "event",
    "snapshot",
    "live",
    "invited",
    "presence",
    "typing",
    "session_warning",
    "disconnect",
    "epoch_changed",
}


def kinds(base: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """Return the messages of a family."""
    return [
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type) and issubclass(kind, base) and kind is not base
    ]


def tags(base: type[msgspec.Struct]) -> set[str]:
    """Return the `type` of each message of a family."""
    return {str(kind.__struct_config__.tag) for kind in kinds(base)}


@pytest.mark.parametrize(
    ("base", "expected"),
    [(Request, REQUEST_TYPES), (Reply, REPLY_TYPES), (Push, PUSH_TYPES)],
    ids=["requests", "replies", "pushes"],
)
def test_there_is_every_type_of_the_protocol(
    base: type[msgspec.Struct], expected: set[str]
) -> None:
    """And no other: an operator's own are not here."""
    assert tags(base) == expected


@pytest.mark.parametrize(
    "kind", [*kinds(Request), *kinds(Reply), *kinds(Push)], ids=lambda kind: kind.__name__
)
def test_messages_are_frozen_and_named_by_type(kind: type[msgspec.Struct]) -> None:
    """So that a frame may be shared by all who receive it."""
    assert kind.__struct_config__.frozen
    assert kind.__struct_config__.tag_field == "type"


def test_an_error_says_only_what_it_has_to_say() -> None:
    """Optional fields that are absent are not sent; `reply_to` is there when the request had it."""
    plain = messages.ErrorReply(code=ErrorCode.NOT_FOUND, message="m", retryable=False)
    assert msgspec.json.decode(ENCODERS["json"].encode(plain)) == {
        "type": "error",
        "code": "not_found",
        "message": "m",
        "retryable": False,
    }
    full = msgspec.structs.replace(plain, reply_to=0, retry_after_ms=5, details={"version": 3})
    sent = msgspec.json.decode(ENCODERS["json"].encode(full))
    assert (sent["reply_to"], sent["retry_after_ms"], sent["details"]) == (0, 5, {"version": 3})


def test_a_new_session_carries_no_word_of_a_resume() -> None:
    """`away_s`, `freshness` and `resume_failure` belong to a resume."""
    ready = messages.SessionReady(session_id="s_1", resume_token="t", generation=1, resumed=False)
    assert set(msgspec.to_builtins(ready)) == {
        "type",
        "session_id",
        "resume_token",
        "generation",
        "resumed",
        "conversations",
    }


def test_null_and_absent_differ_where_the_protocol_says_so() -> None:
    """A conversation without a title has `title: null`; an active run that is none is null."""
    summary = messages.ConversationSummary(
        conversation_id="c",
        title=None,
        created_at=1.0,
        visibility="open",
        role="member",
        position=messages.Position("x", 1),
        metadata=JsonText.of({}),
    )
    sent = msgspec.json.decode(ENCODERS["json"].encode(summary))
    assert sent["title"] is None
    assert sent["position"] == {"epoch": "x", "offset": 1}
    assert sent["metadata"] == {}
