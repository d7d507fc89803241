"""What a client shows of a conversation: its events, one after the other, as the protocol says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.conversation_log import ConversationLog


def contents(log: ConversationLog) -> dict[str, object]:
    """Return the messages that there are in the end, by their ids: what each says."""
    shown: dict[str, object] = {}
    for snapshot in log.snapshots[-1:]:
        shown = {message["message_id"]: message["content"] for message in snapshot["messages"]}
    for frame in log.events:
        event = frame["event"]
        match event["type"]:
            case "MESSAGE_CREATED" | "MESSAGE_UPDATED":
                message = event["message"]
                shown[message["message_id"]] = message["content"]
            case "MESSAGE_DELETED":
                shown.pop(event["messageId"], None)
    return shown


def texts(log: ConversationLog) -> str:
    """Return all that was ever heard, as text."""
    return "\n".join(str(frame) for frame in (*log.snapshots, *log.events))
