"""What a reader of a log finds: where it stands, and what came after a cursor."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import msgspec

from gateway.protocol.json_text import JsonText
from gateway.protocol.publications import Publication
from gateway.protocol.unreadable import (
    CANNOT,
    PLACEHOLDER,
    check_event,
    messages_of,
    skim,
    tell_unreadable,
)
from gateway.store.calls import in_one, position_of, text
from gateway.store.contexts import AgentState, context_of, seen_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.protocol.messages import Mode, Position
    from gateway.store.redis.link import Reply
    from gateway.store.unseen import Unseen


_MESSAGE = b'{"message_id":'  # how it begins (lua/accept.lua, runs.lua); an event with its type


class Snapshot(msgspec.Struct, frozen=True):
    """The whole state of a conversation at one position: history's newest page and context."""

    messages: list[JsonText]
    has_more: bool
    context: AgentState

    @property
    def size_bytes(self) -> int:
        """What it takes to send, about."""
        context = self.context
        run = 0 if context.active_run is None else len(context.active_run.data)
        state = (context.memory, context.workflow, context.tool_calls)
        parts = (*self.messages, *state, *context.interrupts)
        return run + sum([len(part.data) for part in parts])


class Cut(msgspec.Struct, frozen=True):
    """What a reader finds: everything in it is true at `position`.

    `tail` with the first events after the cursor, `snapshot` with the state, or `fresh`. A cut may
    be shared by several readers, and its events with their frames: nobody changes it. `is_own`: its
    events are not the log's, but what this reader may see of it.
    """

    mode: Mode
    position: Position
    events: list[Publication] = []
    snapshot: Snapshot | None = None
    is_own: bool = False

    @property
    def shared(self) -> list[Publication]:
        """Its events, as far as they are the same for all."""
        return [] if self.is_own else self.events

    @property
    def snapshot_bytes(self) -> int:
        """The size of its snapshot; 0 if it has none."""
        return 0 if self.snapshot is None else self.snapshot.size_bytes

    @property
    def size_bytes(self) -> int:
        """What it takes to send: of a tail the events that were read with it."""
        return self.snapshot_bytes or sum([event.size for event in self.events])


class Cuts:
    """The reply of read.lua: parsed once, and cut for each reader."""

    def __init__(self, conversation_id: str, reply: list[Reply]) -> None:
        epoch, offset, _, first, lists, snapshot, ended = reply
        events = in_one(lists)
        self.position = position_of(epoch, offset)
        self._first = int(first)
        self._ended = _epochs(ended) if ended else {}
        names = self._names() if self._ended else repeat(self.position.epoch)
        self._events = [
            published(conversation_id, name, number, entry)
            for number, (entry, name) in enumerate(
                zip(events, names, strict=False), self._first + 1
            )
        ]
        self._fresh = Cut("fresh", self.position)
        self._in_memory = Cut("tail", self.position)
        self._tails: dict[tuple[int, int], Cut] = {}
        self._snapshot: Cut | None = None
        if snapshot:
            state = _snapshot(snapshot, self.position, conversation_id)
            self._snapshot = Cut("snapshot", self.position, snapshot=state)

    def after(
        self,
        cursor: Position | None,
        *,
        max_events: int,
        lacks_events: bool,
        unseen: Unseen | None = None,
    ) -> Cut | None:
        """The cut of a reader: the same object for the same cursor.

        None if the reply has none: it ends before this reader's events, which are to be asked for
        again.
        """
        if cursor is None:
            return self._fresh
        good_to = self._good_to(cursor.epoch)
        if good_to is None or cursor.offset > good_to:
            return self._snapshot_for(unseen)
        if unseen is not None and cursor.offset < unseen.offset:
            return self._snapshot_for(unseen)
        if not lacks_events:
            return self._in_memory
        if cursor.offset < self._first:
            return self._snapshot_for(unseen)
        tail = self._tail(cursor.offset, max_events)
        return _seen(tail, unseen) if tail is not None and unseen is not None else tail

    def _tail(self, offset: int, max_events: int) -> Cut | None:
        found = self._tails.get((offset, max_events))
        if found is None:
            begin = offset - self._first
            events = self._events[begin : begin + max_events]
            if not events and offset < self.position.offset:
                return None
            found = self._tails[offset, max_events] = Cut("tail", self.position, events)
        return found

    def _snapshot_for(self, unseen: Unseen | None) -> Cut | None:
        cut = self._snapshot
        if unseen is None or cut is None or cut.snapshot is None:
            return cut
        return msgspec.structs.replace(cut, snapshot=_seen_state(cut.snapshot, unseen))

    def _good_to(self, epoch: str) -> int | None:
        """Up to which offset a cursor of an epoch has only what this log holds."""
        if epoch == self.position.epoch:
            return self.position.offset
        return self._ended.get(epoch)

    def _names(self) -> Iterator[str]:
        """The epochs under which the events were written, from the first on."""
        at = self._first
        for name, end in self._ended.items():
            yield from repeat(name, max(0, end - at))
            at = max(at, end)
        yield from repeat(self.position.epoch)


def _epochs(ended: bytes) -> dict[str, int]:
    """Epochs that ended, the newest last, with the offset at which each did (lua/prelude.lua)."""
    pairs = (one.partition(":") for one in text(ended).split(","))
    return {name: int(offset) for name, _, offset in pairs}


def published(conversation_id: str, epoch: str, offset: int, entry: bytes) -> Publication:
    """What an entry of the log stands for (lua/prelude.lua).

    If no client could read it, the placeholder: from here on all readers, and all that looks at an
    event on its way, have the same one at this place.
    """
    try:
        if entry.startswith(_MESSAGE):
            skim(entry)
            if not entry.isascii():
                entry.decode()
            event = JsonText(b'{"type":"MESSAGE_CREATED","message":%b}' % entry)
        else:
            check_event(entry)
            event = JsonText(entry)
    except CANNOT as exc:
        tell_unreadable(conversation_id, epoch, offset, exc)
        event = PLACEHOLDER
    return Publication(conversation_id, epoch, offset, event)


def _seen(tail: Cut, unseen: Unseen) -> Cut:
    """What of a tail somebody sees."""
    if not any(event.is_restricted for event in tail.events):
        return tail
    events = [unseen.event(event) for event in tail.events]
    return msgspec.structs.replace(tail, events=events, is_own=True)


def _seen_state(state: Snapshot, unseen: Unseen) -> Snapshot:
    """What of the state somebody sees: messages and tool calls since they joined."""
    messages = unseen.messages(state.messages)
    return Snapshot(
        messages=messages,
        has_more=state.has_more and len(messages) == len(state.messages),
        context=seen_context(state.context, unseen),
    )


def _snapshot(fields: list[Reply], position: Position, conversation_id: str) -> Snapshot:
    has_more, messages, context, active_run, interrupts = fields
    return Snapshot(
        messages=messages_of(in_one(messages), conversation_id),
        has_more=bool(has_more),
        context=context_of(context, position, active_run, interrupts),
    )
