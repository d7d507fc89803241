"""What the server sends: events, snapshots, replies and pushes, as frozen typed records.

Names and shapes are those of the protocol. Unknown fields are ignored, so what a newer server adds
does not break an older client.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, ValidationError, convert, field

Content = str | list[dict[str, Any]]


class Cursor(Struct, frozen=True):
    """A position in a conversation's log: offset 1, 2, 3 … within an epoch."""

    epoch: str
    offset: int


class Message(Struct, frozen=True, kw_only=True):
    """One message of a conversation's history.

    `seq` counts 1, 2, 3 … in the conversation; `created_at` is in unix seconds. `status` is set on
    an agent's reply: `complete`, or `cancelled` or `failed` with the partial text kept.
    """

    message_id: str
    seq: int
    role: str
    author: str | None = None
    content: Content = ""
    created_at: float = 0.0
    client_message_id: str | None = None
    run_id: str | None = None
    status: str | None = None

    @property
    def text(self) -> str:
        """The text of the message; if it has parts, the joined text parts."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part["text"] for part in self.content if isinstance(part.get("text"), str))


class ActiveRun(Struct, frozen=True, kw_only=True):
    """A run in progress, with all of its text so far.

    `waits_for` says what the run is waiting for: `worker`, `agent` or `takeover`.
    """

    run_id: str
    agent: str | None = None
    message_id: str | None = None
    text: str = ""
    status: str = ""
    waits_for: str | None = None


class Interrupt(Struct, frozen=True, kw_only=True, rename="camel"):
    """A question from a run. Answer it with `Conversation.respond_to_interrupt(run_id, id, …)`.

    `response_schema` is a JSON Schema of the answer's payload; `expires_at` is in ISO 8601.
    """

    id: str
    run_id: str = ""
    reason: str = ""
    message: str | None = None
    tool_call_id: str | None = None
    response_schema: dict[str, Any] | None = None
    expires_at: str | None = None


class AgentContext(Struct, frozen=True, kw_only=True):
    """The agent's memory and state at one position of the log, with the open `interrupts`."""

    conversation_id: str
    version: int
    memory: dict[str, Any] = {}
    workflow: dict[str, Any] = {}
    tool_calls: list[Any] = []
    active_run: ActiveRun | None = None
    interrupts: list[Interrupt] = []
    position: Cursor | None = None


# --- what `events()` yields ----------------------------------------------------------------------


class Event(Struct, frozen=True, kw_only=True):
    """One entry of a conversation's log, given to the application exactly once and in order.

    `from_offset` is set when the server merged several entries: the event then stands for all
    offsets from `from_offset` to `offset`.
    """

    conversation_id: str
    epoch: str
    offset: int
    data: dict[str, Any] = field(name="event")
    from_offset: int | None = None

    @property
    def type(self) -> str:
        """The name of the event, such as `MESSAGE_CREATED`; empty if it has none."""
        name = self.data.get("type")
        return name if isinstance(name, str) else ""

    @property
    def cursor(self) -> Cursor:
        """The position after this event."""
        return Cursor(self.epoch, self.offset)


class UnreadableEvent(Struct, frozen=True, kw_only=True):
    """An entry of the log that this client cannot read, in its place in the order.

    What it was is unknown. An application that must know reads the history or the context. (If
    the server could not read it either, it sends an `Event` of the type `CUSTOM` with the name
    `unreadable_event`.)
    """

    conversation_id: str
    epoch: str
    offset: int
    from_offset: int | None = None
    problem: str = ""

    @property
    def cursor(self) -> Cursor:
        """The position after this event."""
        return Cursor(self.epoch, self.offset)


class Snapshot(Struct, frozen=True, kw_only=True):
    """The whole state of a conversation; it replaces all that the application had of it.

    `messages` is the newest page, oldest first; with `has_more` there are older messages.
    """

    conversation_id: str
    epoch: str
    offset: int
    messages: list[Message] = []
    has_more: bool = False
    context: AgentContext | None = None
    active_run: ActiveRun | None = None

    @property
    def cursor(self) -> Cursor:
        """The position after this snapshot."""
        return Cursor(self.epoch, self.offset)


class Detached(Struct, frozen=True, kw_only=True):
    """No more events of this conversation follow: the server refuses to attach it again."""

    conversation_id: str
    code: str
    message: str


Item = Event | UnreadableEvent | Snapshot | Detached

# --- notices: pushes outside of the log, best effort ----------------------------------------------


class Presence(Struct, frozen=True, kw_only=True):
    """A participant went online or offline."""

    conversation_id: str
    subject: str
    online: bool


class Typing(Struct, frozen=True, kw_only=True):
    """A participant is typing, or has stopped."""

    conversation_id: str
    subject: str
    active: bool


class SessionWarning(Struct, frozen=True, kw_only=True):
    """Something the user may want to know: `token_expires_soon`, `medium_gap`, `extended_gap`."""

    code: str
    message: str = ""
    away_s: float | None = None


class Live(Struct, frozen=True, kw_only=True):
    """The replay of these conversations is complete; what follows is new."""

    conversations: dict[str, int] = {}


class EpochChanged(Struct, frozen=True, kw_only=True):
    """A reader at `old` has missed nothing; that position is called `new` from now on.

    There is nothing to do: events continue at the next offset, in the new epoch.
    """

    conversation_id: str
    old: Cursor = field(name="from")
    new: Cursor = field(name="to")


class CustomPush(Struct, frozen=True, kw_only=True):
    """A push of a type that this client does not know, such as one of a custom handler."""

    type: str
    data: dict[str, Any]


Notice = Presence | Typing | SessionWarning | Live | EpochChanged | CustomPush

# --- pushes the client acts on itself -------------------------------------------------------------


class Heartbeat(Struct, frozen=True, kw_only=True):
    """How often a silent client pings, and how long it waits for an answer; seconds."""

    interval_s: float = 25.0
    timeout_s: float = 10.0


class Limits(Struct, frozen=True, kw_only=True):
    """What the server takes; the protocol's defaults until `hello` tells better."""

    max_frame_bytes: int = 262_144
    max_content_bytes: int = 65_536
    history_page_max: int = 200


class Hello(Struct, frozen=True, kw_only=True):
    """The first frame of every connection."""

    subject: str = ""
    tenant: str = ""
    server_time: float = 0.0
    heartbeat: Heartbeat = Heartbeat()
    limits: Limits = Limits()


class Disconnect(Struct, frozen=True, kw_only=True):
    """Why the socket is about to close, and when to come back."""

    code: int
    reason: str = ""
    message: str = ""
    reconnect: bool = True
    retry_after_ms: int = 0
    window_ms: int = 0


def readable_parts(snapshot: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return a `snapshot` push without what of it cannot be read, and how much that is."""
    messages = snapshot.get("messages")
    listed = messages if isinstance(messages, list) else []
    kept = {**snapshot, "messages": [one for one in listed if _is_readable(one, Message)]}
    left_out = len(listed) - len(kept["messages"])
    for name, kind in (("context", AgentContext), ("active_run", ActiveRun)):
        if name in kept and not _is_readable(kept[name], kind):
            del kept[name]
            left_out += 1
    return kept, left_out


def _is_readable(value: object, kind: type[Struct]) -> bool:
    try:
        convert(value, kind)
    except ValidationError:
        return False
    return True
