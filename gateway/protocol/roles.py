"""Which role may send which message: the one table.

Scripts are given it as text (`lua_table`, store/redis/scripts.py) and decide by it; the reference
(docs/protocol.md) and the tests of isolation are held against it. A subject without a role takes no
part: to them every conversation is `not_found`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.protocol.messages import Role

EVERYBODY: Final[frozenset[Role]] = frozenset({"owner", "member", "observer"})
WRITERS: Final[frozenset[Role]] = frozenset({"owner", "member"})
OWNERS: Final[frozenset[Role]] = frozenset({"owner"})

# By the type of message; one that changes somebody else's message has a name of its own.
RIGHTS: Final[dict[str, frozenset[Role]]] = {
    "get_conversation": EVERYBODY,
    "join_conversation": EVERYBODY,
    "leave_conversation": EVERYBODY,
    "get_conversation_history": EVERYBODY,
    "search_messages": EVERYBODY,
    "get_agent_context": EVERYBODY,
    "list_context_versions": EVERYBODY,
    "send_message": WRITERS,
    "edit_message": WRITERS,
    "delete_message": WRITERS,
    "typing": WRITERS,
    "update_agent_context": WRITERS,
    "rollback_agent_context": WRITERS,
    "cancel_run": WRITERS,
    "respond_to_interrupt": WRITERS,
    "add_participant": OWNERS,
    "remove_participant": OWNERS,
    "create_invite": OWNERS,
    "list_invites": OWNERS,
    "revoke_invite": OWNERS,
    "delete_message_of_others": OWNERS,
}


def lua_table() -> str:
    """The table for scripts: the function `may(role, type)`.

    One constant text, since a script's tables would be made anew at each of its calls.
    """
    kinds = sorted(RIGHTS, key=lambda kind: kind != "send_message")  # what is asked most is first
    rights = " ".join(f"{kind}:{role}" for kind in kinds for role in sorted(RIGHTS[kind]))
    return (
        f"local MAY = ' {rights} ' -- gateway/protocol/roles.py\n"
        "local function may(role, what)\n"
        "  return string.find(MAY, ' ' .. what .. ':' .. role .. ' ', 1, true) ~= nil\n"
        "end\n"
    )
