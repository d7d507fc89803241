"""The log of a conversation: where a reader stands, and what they lack."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from gateway.json_text import JsonText
from gateway.published import Published
from gateway.store.calls import Caller, ConversationCalls, position_of, text
from gateway.store.contexts import Context, context_of
from gateway.store.scripts import Script

if TYPE_CHECKING:
    from gateway.messages import Mode, Position
    from gateway.store.link import Reply

PAGE_EVENTS = 256  # events read at once; a page of ordinary deltas is some 50 KiB
SNAPSHOT_MESSAGES = 50  # as a page of history, when no limit is given


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state of a conversation at one position: history's newest page and context."""

    messages: list[JsonText]
    has_more: bool
    context: Context


@dataclass(frozen=True, slots=True)
class Cut:
    """What a reader finds: everything in it is true at `position`.

    `tail` with the first events after the cursor, `snapshot` with the state, or `fresh`.
    """

    mode: Mode
    position: Position
    events: list[Published] = field(default_factory=list)
    snapshot: Snapshot | None = None


class Log:
    """The logs of all conversations."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._read = Script("read")
        self._check = Script("check")

    async def read(
        self,
        caller: Caller,
        conversation_id: str,
        cursor: Position | None,
        *,
        max_events: int = PAGE_EVENTS,
    ) -> Cut:
        """Read what lies after `cursor`; the whole state if the log does not reach back so far.

        A cursor of another epoch, or ahead of the log, gets a snapshot.

        Raises:
            NotFound: no such conversation, or the caller takes no part.
        """
        epoch, offset = (cursor.epoch or "-", cursor.offset) if cursor else ("", 0)
        reply = await self._calls.run(
            self._read, caller, conversation_id, epoch, offset, max_events, SNAPSHOT_MESSAGES
        )
        position = position_of(reply[1], reply[2])
        mode = cast("Mode", text(reply[0]))
        if mode == "tail":
            events = _events(conversation_id, position.epoch, reply[3])
            return Cut(mode, position, events)
        if mode == "snapshot":
            return Cut(mode, position, snapshot=_snapshot(reply[3:], position))
        return Cut(mode, position)

    async def check(self, caller: Caller, conversation_id: str) -> Position | None:
        """Where the log stands; None if the conversation is gone. For a replica, not a client."""
        reply = await self._calls.run(self._check, caller, conversation_id)
        return position_of(*reply) if reply else None


def parse_live(conversation_id: str, payload: bytes) -> Published:
    """Read the live copy of an event: `e:<epoch>:<offset>:<event JSON>`."""
    _, epoch, offset, event = payload.split(b":", 3)
    return Published(conversation_id, epoch.decode(), int(offset), JsonText(event))


def _events(conversation_id: str, epoch: str, flat: list[Reply]) -> list[Published]:
    return [
        Published(conversation_id, epoch, int(offset), JsonText(event))
        for offset, event in zip(flat[::2], flat[1::2], strict=True)
    ]


def _snapshot(fields: list[Reply], position: Position) -> Snapshot:
    seq, messages, context, active_run, interrupts = fields
    return Snapshot(
        messages=[JsonText(item) for item in messages if item],
        has_more=int(seq) > len(messages),
        context=context_of(context, position, active_run, interrupts),
    )
