"""The server's replies, as frozen typed records."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from gateway_client.protocol.messages import ActiveRun, Cursor, Message


class ErrorReply(Struct, frozen=True, kw_only=True):
    """What could not be done, and whether to try again."""

    code: str
    message: str = ""
    retryable: bool = False
    retry_after_ms: int | None = None
    details: dict[str, Any] | None = None


class Pong(Struct, frozen=True, kw_only=True):
    """A sign of life."""


class TokenRefreshed(Struct, frozen=True, kw_only=True):
    """The new token is valid until `expires_at` (unix seconds)."""

    expires_at: float = 0.0


class ConversationState(Struct, frozen=True, kw_only=True):
    """Where the session stands in a conversation, and what follows.

    `tail`: everything after the cursor, as events. `snapshot`: a snapshot, then the tail.
    `fresh`: nothing; what is new comes from here on.
    """

    mode: Literal["tail", "snapshot", "fresh"]
    epoch: str
    offset: int
    replayed: int = 0

    @property
    def cursor(self) -> Cursor:
        """The position the server named."""
        return Cursor(self.epoch, self.offset)


class SessionReady(Struct, frozen=True, kw_only=True):
    """The session is attached; replays follow."""

    session_id: str
    resume_token: str
    generation: int = 0
    resumed: bool = False
    resume_failure: str | None = None
    away_s: float | None = None
    freshness: str | None = None
    conversations: dict[str, ConversationState] = {}


class Joined(ConversationState, frozen=True, kw_only=True):
    """The session is attached to the conversation."""

    conversation_id: str


class Left(Struct, frozen=True, kw_only=True):
    """This user is no longer a participant."""

    conversation_id: str


class MessageAccepted(Struct, frozen=True, kw_only=True):
    """The message is stored, as durably as `durability` says.

    `duplicate`: the same message had been accepted before, and this is its result.
    """

    conversation_id: str
    message_id: str
    client_message_id: str
    epoch: str
    offset: int
    seq: int | None = None
    run_id: str | None = None
    duplicate: bool = False
    durability: str = ""


class Participant(Struct, frozen=True, kw_only=True):
    """Who takes part, and whether a device of theirs is connected."""

    subject: str
    role: str = ""
    joined_at: float = 0.0
    online: bool = False


class ConversationInfo(Struct, frozen=True, kw_only=True):
    """Who and what a conversation is; in a list, without the participants and `history`."""

    conversation_id: str
    title: str | None = None
    created_at: float = 0.0
    visibility: str | None = None
    role: str | None = None
    participants: list[Participant] = []
    position: Cursor | None = None
    active_run: ActiveRun | None = None
    metadata: dict[str, Any] | None = None
    history: str = "all"


class ConversationPage(Struct, frozen=True, kw_only=True):
    """A page of this user's conversations."""

    conversations: list[ConversationInfo] = []
    has_more: bool = False


class History(Struct, frozen=True, kw_only=True):
    """A page of messages, the oldest first; `position` is the log's when it was read.

    `next` is where the next page begins, as `before` or `after`; None if there is no more, or if
    the server does not say: then the outermost message's `seq` is.
    """

    conversation_id: str
    messages: list[Message] = []
    has_more: bool = False
    position: Cursor | None = None
    next: int | None = None


class ContextUpdated(Struct, frozen=True, kw_only=True):
    """The new version of the agent context."""

    version: int


class ContextVersion(Struct, frozen=True, kw_only=True):
    """A version of the agent context: when and by whom."""

    version: int
    at: float = 0.0
    by: str = ""


class ContextVersions(Struct, frozen=True, kw_only=True):
    """The versions that can be restored."""

    versions: list[ContextVersion] = []


class RunCancelled(Struct, frozen=True, kw_only=True):
    """The state the run ended in: `cancelled`, or what it already was."""

    run_id: str
    status: str


class InterruptResolved(Struct, frozen=True, kw_only=True):
    """Whether this answer was accepted: only the first one is."""

    winner: bool


class Invite(Struct, frozen=True, kw_only=True):
    """A code that lets its holder join until `expires_at` (unix seconds)."""

    invite: str
    expires_at: float = 0.0


class KeptInvite(Struct, frozen=True, kw_only=True):
    """An invite that can still be used; its code is known only to those it was given to."""

    invite_id: str
    role: str
    uses_left: int
    created_at: float
    created_by: str
    expires_at: float


class Invites(Struct, frozen=True, kw_only=True):
    """The invites of a conversation that can still be used, oldest first."""

    invites: list[KeptInvite]


class InviteRevoked(Struct, frozen=True, kw_only=True):
    """Nobody can join with this invite any more."""

    invite_id: str


class MessageUpdated(Struct, frozen=True, kw_only=True):
    """The message as it is now."""

    message: Message


class SearchResults(Struct, frozen=True, kw_only=True):
    """The messages found, newest first; with `has_more`, none before `next` was looked at."""

    messages: list[Message] = []
    has_more: bool = False
    next: int | None = None
