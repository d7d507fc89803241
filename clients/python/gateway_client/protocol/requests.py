"""What a client asks, as frozen records, and what may be asked twice.

A request that `is_repeatable` gives the same result however often it arrives, so the client sends
it again after a drop. The others fail with `RequestInterrupted` once they were sent: only the
application knows what a second `rollback` would mean.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import UNSET, Struct, UnsetType

from gateway_client.protocol import replies
from gateway_client.protocol.messages import AgentContext, Content, Cursor


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """Base of all requests; `id` comes back as `reply_to`, 0 is for those without a reply."""

    reply: ClassVar[type[Any]] = dict
    is_repeatable: ClassVar[bool] = False

    id: int = 0

    @property
    def type(self) -> str:
        """The name on the wire."""
        return str(self.__struct_config__.tag)


class Repeatable(Request, frozen=True, kw_only=True):
    """Base of the requests that may be sent again."""

    is_repeatable: ClassVar[bool] = True


class ClientInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the client says of itself; shown to operators."""

    name: str
    version: str
    device: str = ""


class Connect(Request, tag="connect", frozen=True, kw_only=True):
    """Open a session, or resume one from where `cursors` stand.

    `attempt` rises with each: one that the server carries out after a later one changes nothing.
    """

    reply: ClassVar[type[Any]] = replies.SessionReady

    session_id: str | None = None
    resume_token: str | None = None
    attempt: int | None = None
    cursors: dict[str, Cursor] = {}
    client: ClientInfo | None = None


class Ping(Request, tag="ping", frozen=True, kw_only=True):
    """Ask for a sign of life."""

    reply: ClassVar[type[Any]] = replies.Pong


class RefreshToken(Request, tag="refresh_token", frozen=True, kw_only=True):
    """Replace the token of this connection."""

    reply: ClassVar[type[Any]] = replies.TokenRefreshed

    token: str


class CreateConversation(Request, tag="create_conversation", frozen=True, kw_only=True):
    """Create a conversation and attach to it."""

    reply: ClassVar[type[Any]] = replies.ConversationInfo

    conversation_id: str | None = None
    title: str | None = None
    participants: list[str] = []
    visibility: str = ""
    metadata: dict[str, Any] = {}
    history: str = ""


class GetConversation(Repeatable, tag="get_conversation", frozen=True, kw_only=True):
    """Ask who and what a conversation is."""

    reply: ClassVar[type[Any]] = replies.ConversationInfo

    conversation_id: str


class ListConversations(Repeatable, tag="list_conversations", frozen=True, kw_only=True):
    """List this user's conversations."""

    reply: ClassVar[type[Any]] = replies.ConversationPage

    limit: int | None = None
    before: str | None = None


class JoinConversation(Repeatable, tag="join_conversation", frozen=True, kw_only=True):
    """Attach to a conversation, from `cursor` if given."""

    reply: ClassVar[type[Any]] = replies.Joined

    conversation_id: str
    cursor: Cursor | None = None
    invite: str | None = None


class LeaveConversation(Repeatable, tag="leave_conversation", frozen=True, kw_only=True):
    """Stop being a participant."""

    reply: ClassVar[type[Any]] = replies.Left

    conversation_id: str


class SendMessage(Repeatable, tag="send_message", frozen=True, kw_only=True):
    """Say something, once, however often it is sent."""

    reply: ClassVar[type[Any]] = replies.MessageAccepted

    client_message_id: str
    content: Content
    conversation_id: str | None = None
    agent: str | UnsetType | None = UNSET
    if_running: str = ""


class CancelRun(Repeatable, tag="cancel_run", frozen=True, kw_only=True):
    """Cancel a run."""

    reply: ClassVar[type[Any]] = replies.RunCancelled

    conversation_id: str
    run_id: str


class GetHistory(Repeatable, tag="get_conversation_history", frozen=True, kw_only=True):
    """Read a page of messages by `seq`."""

    reply: ClassVar[type[Any]] = replies.History

    conversation_id: str
    limit: int | None = None
    before: int | None = None
    after: int | None = None


class GetContext(Repeatable, tag="get_agent_context", frozen=True, kw_only=True):
    """Read memory, workflow and tool calls."""

    reply: ClassVar[type[Any]] = AgentContext

    conversation_id: str


class UpdateContext(Request, tag="update_agent_context", frozen=True, kw_only=True):
    """Patch memory and workflow (RFC 6902), if nobody did since `base_version`."""

    reply: ClassVar[type[Any]] = replies.ContextUpdated

    conversation_id: str
    base_version: int
    patch: list[dict[str, Any]]


class ListContextVersions(Repeatable, tag="list_context_versions", frozen=True, kw_only=True):
    """List the versions a rollback may go to."""

    reply: ClassVar[type[Any]] = replies.ContextVersions

    conversation_id: str
    limit: int | None = None


class RollbackContext(Request, tag="rollback_agent_context", frozen=True, kw_only=True):
    """Make a new version that equals an old one."""

    reply: ClassVar[type[Any]] = replies.ContextUpdated

    conversation_id: str
    version: int


class RespondToInterrupt(Request, tag="respond_to_interrupt", frozen=True, kw_only=True):
    """Answer what a run asked."""

    reply: ClassVar[type[Any]] = replies.InterruptResolved

    conversation_id: str
    run_id: str
    interrupt_id: str
    status: str
    payload: Any = UNSET


class AddParticipant(Request, tag="add_participant", frozen=True, kw_only=True):
    """Make a subject a participant, or change its role."""

    reply: ClassVar[type[Any]] = replies.ConversationInfo

    conversation_id: str
    subject: str
    role: str | None = None


class RemoveParticipant(Request, tag="remove_participant", frozen=True, kw_only=True):
    """Make a subject no participant."""

    reply: ClassVar[type[Any]] = replies.ConversationInfo

    conversation_id: str
    subject: str
    ban: bool | None = None


class CreateInvite(Request, tag="create_invite", frozen=True, kw_only=True):
    """Make a code that lets whoever holds it join."""

    reply: ClassVar[type[Any]] = replies.Invite

    conversation_id: str
    uses: int | None = None
    ttl_s: int | None = None
    role: str | None = None


class ListInvites(Request, tag="list_invites", frozen=True, kw_only=True):
    """List the invites that can still be used."""

    reply: ClassVar[type[Any]] = replies.Invites

    conversation_id: str


class RevokeInvite(Request, tag="revoke_invite", frozen=True, kw_only=True):
    """End an invite."""

    reply: ClassVar[type[Any]] = replies.InviteRevoked

    conversation_id: str
    invite_id: str


class EditMessage(Request, tag="edit_message", frozen=True, kw_only=True):
    """Replace the content of a message of one's own."""

    reply: ClassVar[type[Any]] = replies.MessageUpdated

    conversation_id: str
    message_id: str
    content: Content


class DeleteMessage(Request, tag="delete_message", frozen=True, kw_only=True):
    """Delete a message."""

    reply: ClassVar[type[Any]] = replies.MessageUpdated

    conversation_id: str
    message_id: str


class SearchMessages(Repeatable, tag="search_messages", frozen=True, kw_only=True):
    """Find messages whose text holds `query`."""

    reply: ClassVar[type[Any]] = replies.SearchResults

    conversation_id: str
    query: str
    limit: int | None = None
    before: int | None = None


class SetTyping(Request, tag="typing", frozen=True, kw_only=True):
    """Tell the others that one is typing; no reply."""

    conversation_id: str
    active: bool


class Ack(Request, tag="ack", frozen=True, kw_only=True):
    """Tell what the application has consumed; no reply."""

    cursors: dict[str, Cursor]
