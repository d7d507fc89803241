"""The messages of the wire: every request, reply and push, once, for both codecs.

All are frozen, tagged by `type`. Requests are what a client may send; an operator adds its own by
subclassing `Request`. Fields that are the user's own JSON are `Any` in requests and `JsonText` in
what the server sends. Absent optional fields are not sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.codes import AGENT_PREFIX

if TYPE_CHECKING:
    from gateway.codes import ErrorCode
    from gateway.protocol.json_text import JsonText

PROTOCOL = "gateway.v1"

Identifier = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
# Control characters, and those that turn the direction of text (Unicode's Bidi_Control): when it is
# shown, such a text can look like another.
_MISLEADING = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
# A subject of a token is printable: of invisible characters, it has none at all.
_INVISIBLE = r"\xad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"
SUBJECT_PATTERN = rf"\A(?!{AGENT_PREFIX})[^{_MISLEADING}{_INVISIBLE}]+\Z"
TITLE_PATTERN = rf"\A[^{_MISLEADING}]*\Z"
AnySubject = Annotated[str, Meta(min_length=1, max_length=128)]
Subject = Annotated[str, Meta(min_length=1, max_length=128, pattern=SUBJECT_PATTERN)]
MessageId = Annotated[str, Meta(min_length=1, max_length=64)]
RequestId = (
    Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None
)
ReplyId = str | int | UnsetType
Offset = Annotated[int, Meta(ge=0, le=2**53)]  # a double in Lua and in JavaScript is exact to 2^53
Content = str | list[dict[str, Any]]
Role = Literal["owner", "member", "observer"]
InviteRole = Literal["member", "observer"]  # owners are made by owners, by name
Visibility = Literal["private", "open"]
History = Literal["all", "from_joining"]  # what participants see of the past
Freshness = Literal["brief", "medium", "extended"]
Mode = Literal["tail", "snapshot", "fresh"]


class Position(msgspec.Struct, frozen=True):
    """A place in a conversation's log: the epoch, and the offset of the last event seen."""

    epoch: Annotated[str, Meta(max_length=64)]
    offset: Offset


# --- requests -----------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of everything a client may send; `id` comes back as `reply_to`."""

    id: RequestId = None


class ClientInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the client says about itself; shown to operators, never trusted."""

    name: Annotated[str, Meta(max_length=64)] = ""
    version: Annotated[str, Meta(max_length=64)] = ""
    device: Annotated[str, Meta(max_length=64)] = ""


class Connect(Request, tag="connect", frozen=True, kw_only=True):
    """Open a session, or resume one from the positions in `cursors`.

    `attempt` rises with each try of a client: one carried out after a higher one changes nothing.
    """

    session_id: Annotated[str, Meta(max_length=128)] | None = None
    resume_token: Annotated[str, Meta(max_length=256)] | None = None
    attempt: Offset | None = None
    cursors: Annotated[dict[Identifier, Position], Meta(max_length=1000)] = {}
    client: ClientInfo | None = None


class Ping(Request, tag="ping", frozen=True, kw_only=True):
    """Ask for a sign of life."""


class RefreshToken(Request, tag="refresh_token", frozen=True, kw_only=True):
    """Replace the credential of this connection."""

    token: str


class CreateConversation(Request, tag="create_conversation", frozen=True, kw_only=True):
    """Create a conversation and attach to it."""

    conversation_id: Identifier | None = None
    title: Annotated[str, Meta(max_length=256, pattern=TITLE_PATTERN)] | None = None
    participants: Annotated[list[Subject], Meta(max_length=1000)] = []
    visibility: Visibility = "private"
    metadata: dict[str, Any] = {}
    history: History = "all"


class GetConversation(Request, tag="get_conversation", frozen=True, kw_only=True):
    """Read the title, participants and state of a conversation."""

    conversation_id: Identifier


class ListConversations(Request, tag="list_conversations", frozen=True, kw_only=True):
    """List the caller's conversations, the newest first; `before` is the last id of a page."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Identifier | None = None


class JoinConversation(Request, tag="join_conversation", frozen=True, kw_only=True):
    """Attach to a conversation, from `cursor` if given; with `invite`, become a participant."""

    conversation_id: Identifier | None = None
    cursor: Position | None = None
    invite: Annotated[str, Meta(max_length=256)] | None = None


class LeaveConversation(Request, tag="leave_conversation", frozen=True, kw_only=True):
    """Stop being a participant."""

    conversation_id: Identifier


class SendMessage(Request, tag="send_message", frozen=True, kw_only=True):
    """Send a message; sent again with the same id, it is stored once."""

    client_message_id: MessageId
    content: Content
    conversation_id: Identifier | None = None
    agent: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET
    if_running: Literal["reject", "enqueue", "interrupt"] = "enqueue"


class CancelRun(Request, tag="cancel_run", frozen=True, kw_only=True):
    """Cancel a run; the reply says how it ended."""

    conversation_id: Identifier
    run_id: Identifier


class GetConversationHistory(Request, tag="get_conversation_history", frozen=True, kw_only=True):
    """Read a page of messages by `seq`."""

    conversation_id: Identifier
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: Offset | None = None
    after: Offset | None = None


class GetAgentContext(Request, tag="get_agent_context", frozen=True, kw_only=True):
    """Read memory, workflow and tool calls."""

    conversation_id: Identifier


class UpdateAgentContext(Request, tag="update_agent_context", frozen=True, kw_only=True):
    """Patch memory and workflow (RFC 6902), if they have not changed since `base_version`."""

    conversation_id: Identifier
    base_version: Offset
    patch: Annotated[list[dict[str, Any]], Meta(max_length=1000)]


class ListContextVersions(Request, tag="list_context_versions", frozen=True, kw_only=True):
    """List the versions that can be rolled back to, the newest first."""

    conversation_id: Identifier
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class RollbackAgentContext(Request, tag="rollback_agent_context", frozen=True, kw_only=True):
    """Make a new version that equals an old one."""

    conversation_id: Identifier
    version: Offset


class RespondToInterrupt(Request, tag="respond_to_interrupt", frozen=True, kw_only=True):
    """Answer a run's question."""

    conversation_id: Identifier
    run_id: Identifier
    interrupt_id: Identifier
    status: Literal["resolved", "cancelled"]
    payload: Any = None


class AddParticipant(Request, tag="add_participant", frozen=True, kw_only=True):
    """Make a subject a participant, or change its role; owners only."""

    conversation_id: Identifier
    subject: Subject
    role: Role = "member"


class RemoveParticipant(Request, tag="remove_participant", frozen=True, kw_only=True):
    """Remove a participant; owners only. With `ban` it cannot join again by itself."""

    conversation_id: Identifier
    subject: AnySubject  # whatever was let in before it was checked can be removed
    ban: bool = False


class CreateInvite(Request, tag="create_invite", frozen=True, kw_only=True):
    """Create a code that lets anyone who has it join; owners only."""

    conversation_id: Identifier
    uses: Annotated[int, Meta(ge=1, le=10_000)] = 1
    ttl_s: Annotated[int, Meta(ge=1, le=2_592_000)] = 86_400
    role: InviteRole = "member"


class ListInvites(Request, tag="list_invites", frozen=True, kw_only=True):
    """List the invites that can still be used; owners only."""

    conversation_id: Identifier


class RevokeInvite(Request, tag="revoke_invite", frozen=True, kw_only=True):
    """End an invite, no matter who created it; owners only."""

    conversation_id: Identifier
    invite_id: Identifier


class EditMessage(Request, tag="edit_message", frozen=True, kw_only=True):
    """Replace the content of one of the caller's own messages."""

    conversation_id: Identifier
    message_id: Identifier
    content: Content


class DeleteMessage(Request, tag="delete_message", frozen=True, kw_only=True):
    """Delete a message; its author or an owner only."""

    conversation_id: Identifier
    message_id: Identifier


class SearchMessages(Request, tag="search_messages", frozen=True, kw_only=True):
    """Find messages whose text contains `query`, the newest first."""

    conversation_id: Identifier
    query: Annotated[str, Meta(min_length=1, max_length=256)]
    limit: Annotated[int, Meta(ge=1, le=200)] = 20
    before: Offset | None = None


class Typing(Request, tag="typing", frozen=True, kw_only=True):
    """Show the others whether the caller is typing."""

    conversation_id: Identifier
    active: bool


class Ack(Request, tag="ack", frozen=True, kw_only=True):
    """Report what the application has handled."""

    cursors: Annotated[dict[Identifier, Position], Meta(max_length=1000)]


# --- replies ------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of everything that answers a request; `reply_to` is put in by the connection."""

    reply_to: ReplyId = UNSET


class ErrorReply(Reply, tag="error", frozen=True, kw_only=True):
    """A request failed: why, and whether to try again."""

    code: ErrorCode
    message: str
    retryable: bool
    retry_after_ms: int | UnsetType = UNSET
    details: dict[str, int | str] | UnsetType = UNSET


class Pong(Reply, tag="pong", frozen=True, kw_only=True):
    """A sign of life."""


class TokenRefreshed(Reply, tag="token_refreshed", frozen=True, kw_only=True):
    """The new credential is valid until `expires_at` (unix seconds)."""

    expires_at: float


class ConversationState(msgspec.Struct, frozen=True, kw_only=True):
    """A session's position in a conversation when it is opened or resumed."""

    mode: Mode
    epoch: str
    offset: int
    replayed: int = 0


class SessionReady(Reply, tag="session_ready", frozen=True, kw_only=True):
    """The session is attached; replays follow, then `live`."""

    session_id: str
    resume_token: str
    generation: int
    resumed: bool
    resume_failure: Literal["unknown", "expired", "token_reused"] | UnsetType = UNSET
    away_s: float | UnsetType = UNSET
    freshness: Freshness | UnsetType = UNSET
    conversations: dict[str, ConversationState] = {}


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """A subject that takes part, and whether one of its devices is connected."""

    subject: str
    role: Role
    joined_at: float
    online: bool


class InvitedSubject(msgspec.Struct, frozen=True, kw_only=True):
    """A subject that was invited by name and has not answered; not a participant yet."""

    subject: str
    role: Role
    invited_at: float
    invited_by: str


class Conversation(Reply, tag="conversation", frozen=True, kw_only=True):
    """The title, participants and state of a conversation."""

    conversation_id: str
    title: str | None
    created_at: float
    visibility: Visibility
    participants: list[Participant]
    position: Position
    active_run: JsonText | None
    metadata: JsonText
    history: History = "all"
    invited: list[InvitedSubject] | UnsetType = UNSET  # to owners, if there are any


class ConversationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list of conversations; with `invited_by`, an invitation to join it."""

    conversation_id: str
    title: str | None
    created_at: float
    visibility: Visibility
    role: Role
    position: Position
    metadata: JsonText
    invited: bool | UnsetType = UNSET
    invited_by: str | UnsetType = UNSET


class Conversations(Reply, tag="conversations", frozen=True, kw_only=True):
    """A page of the caller's conversations."""

    conversations: list[ConversationSummary]
    has_more: bool


class Joined(Reply, tag="joined", frozen=True, kw_only=True):
    """The session is attached to the conversation; the replay follows, then `live`."""

    conversation_id: str
    mode: Mode
    epoch: str
    offset: int
    replayed: int


class Left(Reply, tag="left", frozen=True, kw_only=True):
    """The caller is not a participant any more."""

    conversation_id: str


class MessageAccepted(Reply, tag="message_accepted", frozen=True, kw_only=True):
    """The message is stored, as durably as `durability` says."""

    conversation_id: str
    message_id: str
    client_message_id: str
    epoch: str
    offset: int
    seq: int
    duplicate: bool
    durability: Literal["memory", "disk", "replicated"]
    run_id: str | UnsetType = UNSET


class RunCancelled(Reply, tag="run_cancelled", frozen=True, kw_only=True):
    """How the run ended."""

    run_id: str
    status: str


class ConversationHistory(Reply, tag="conversation_history", frozen=True, kw_only=True):
    """A page of messages, the oldest first; `next` is the next page's `before` or `after`."""

    conversation_id: str
    messages: list[JsonText]
    has_more: bool
    position: Position
    next: int | UnsetType = UNSET


class AgentContext(Reply, tag="agent_context", frozen=True, kw_only=True):
    """What the agent knows, at one position of the log."""

    conversation_id: str
    version: int
    memory: JsonText
    workflow: JsonText
    tool_calls: JsonText
    active_run: JsonText | None
    interrupts: list[JsonText]  # those that wait for an answer
    position: Position


class AgentContextUpdated(Reply, tag="agent_context_updated", frozen=True, kw_only=True):
    """The change is stored as this version."""

    conversation_id: str
    version: int


class ContextVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that can be rolled back to."""

    version: int
    at: float
    by: str


class ContextVersions(Reply, tag="context_versions", frozen=True, kw_only=True):
    """Versions, the newest first."""

    conversation_id: str
    versions: list[ContextVersion]


class InterruptResolved(Reply, tag="interrupt_resolved", frozen=True, kw_only=True):
    """Whether this answer was the one that was accepted."""

    winner: bool


class Invite(Reply, tag="invite", frozen=True, kw_only=True):
    """A code that lets anyone who has it join until `expires_at` (unix seconds)."""

    invite: str
    expires_at: float


class KeptInvite(msgspec.Struct, frozen=True, kw_only=True):
    """An invite that can still be used, without its code, which is not stored."""

    invite_id: str
    role: InviteRole
    uses_left: int
    created_at: float
    created_by: str
    expires_at: float


class Invites(Reply, tag="invites", frozen=True, kw_only=True):
    """The invites of a conversation, the oldest first."""

    conversation_id: str
    invites: list[KeptInvite]


class InviteRevoked(Reply, tag="invite_revoked", frozen=True, kw_only=True):
    """The invite can no longer be used."""

    conversation_id: str
    invite_id: str


class MessageUpdated(Reply, tag="message_updated", frozen=True, kw_only=True):
    """The message as it is now."""

    message: JsonText


class SearchResults(Reply, tag="search_results", frozen=True, kw_only=True):
    """Messages found, the newest first; with `has_more`, none before `next` were read."""

    messages: list[JsonText]
    has_more: bool = False
    next: int | UnsetType = UNSET


# --- pushes -------------------------------------------------------------------------------------


class Push(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of everything the server sends without a request."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """How often an idle client pings, and how long it waits for the answer."""

    interval_s: float
    timeout_s: float


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that a client must respect."""

    max_frame_bytes: int
    max_content_bytes: int
    history_page_max: int


class Hello(Push, tag="hello", frozen=True, kw_only=True):
    """The first frame of every accepted connection."""

    protocol: str = PROTOCOL
    server_time: float
    subject: str
    tenant: str
    heartbeat: Heartbeat
    limits: Limits


class Event(Push, tag="event", frozen=True, kw_only=True):
    """One entry of a conversation's log."""

    conversation_id: str
    epoch: str
    offset: int
    event: JsonText
    from_offset: int | UnsetType = UNSET


class Snapshot(Push, tag="snapshot", frozen=True, kw_only=True):
    """The whole state of a conversation; replaces what the client had."""

    conversation_id: str
    epoch: str
    offset: int
    messages: list[JsonText]
    has_more: bool
    context: AgentContext
    active_run: JsonText | UnsetType = UNSET


class Live(Push, tag="live", frozen=True, kw_only=True):
    """Replay is over; what follows is new."""

    conversations: dict[str, int]


class EpochChanged(Push, tag="epoch_changed", frozen=True, kw_only=True):
    """Nothing the client has was lost; its position is called `to` from now on."""

    conversation_id: str
    from_: Position = msgspec.field(name="from")
    to: Position


class Invited(Push, tag="invited", frozen=True, kw_only=True):
    """Somebody invites the subject by name: `join_conversation` accepts."""

    conversation_id: str
    title: str | None
    role: Role
    invited_by: str


class Presence(Push, tag="presence", frozen=True, kw_only=True):
    """A participant connected or disconnected."""

    conversation_id: str
    subject: str
    online: bool


class TypingPush(Push, tag="typing", frozen=True, kw_only=True):
    """A participant is typing, or stopped."""

    conversation_id: str
    subject: str
    active: bool


class SessionWarning(Push, tag="session_warning", frozen=True, kw_only=True):
    """Something the user may want to know."""

    code: Literal["token_expires_soon", "medium_gap", "extended_gap", "unknown_field"]
    message: str
    away_s: float | UnsetType = UNSET


class Disconnect(Push, tag="disconnect", frozen=True, kw_only=True):
    """Why the socket is about to close, and when to come back.

    `reason` is the name of the code; `message` tells a person more, where there is more to tell.
    """

    code: int
    reason: str
    message: str | UnsetType = UNSET
    reconnect: bool
    retry_after_ms: int = 0
    window_ms: int = 0
