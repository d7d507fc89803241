"""Recovery without I/O: what a reader at a position does with what it hears, and the log's tail.

A reader is either live, and takes events as they are heard, or catching up, and takes them from
the tail in memory or from the log. It turns live at the moment it has all the tail has; there is
no second buffer whose merging could double or lose an event.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING

from gateway.protocol.batches import Batch
from gateway.protocol.blanked import may_be_one
from gateway.protocol.messages import Position
from gateway.protocol.publications import Publication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.protocol.blanked import Change

MAX_CHANGES = 64  # kept, of a tail; more only while their events are in it


class Verdict(Enum):
    """What an event is to a reader at a position."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    GAP = "gap"
    OTHER_EPOCH = "other_epoch"


_NEXT, _DUPLICATE, _GAP, _OTHER_EPOCH = Verdict  # looked up there they cost 0.15 µs each time


def judge(position: Position, epoch: str, offset: int) -> Verdict:
    """Tell what the event at `offset` of `epoch` is to a reader who has all up to `position`."""
    if epoch != position.epoch:
        return _OTHER_EPOCH
    if offset <= position.offset:
        return _DUPLICATE
    return _NEXT if offset == position.offset + 1 else _GAP


class Tail:
    """The newest events of one conversation, in memory, bounded; and where the log stands.

    Promises: events are contiguous, in order, of one epoch. When full, the oldest go: a reader
    further behind reads the log.
    """

    __slots__ = ("_bytes", "_changes", "_events", "_last", "_max_bytes", "position")

    def __init__(self, position: Position, *, max_bytes: int) -> None:
        self.position = position
        self._events: deque[Publication] = deque()
        self._changes: dict[bytes, Change] = {}  # edits and deletions, by message
        self._bytes = 0
        self._max_bytes = max_bytes
        self._last: tuple[int, int, Batch] | None = None  # what was given last: many come alike

    @property
    def since(self) -> Position:
        """From where on all is here: a reader at this position or after it needs no log."""
        return Position(self.position.epoch, self.position.offset - len(self._events))

    def extend(self, batch: Batch) -> None:
        """Add the next events.

        Raises:
            ValueError: they are not the next ones; the caller judges first.
        """
        events, at = batch.events, self.position
        first, last = events[0], events[-1]
        if first.offset != at.offset + 1 or first.epoch != at.epoch:
            raise ValueError(first.offset, at)
        self._events.extend(events)
        self._bytes += batch.size
        self.position = Position(last.epoch, last.offset)
        if self._bytes > self._max_bytes:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        while self._bytes > self._max_bytes and len(self._events) > 1:
            self._bytes -= self._events.popleft().size

    def blank(self, change: Change) -> None:
        """Take out the text of a message that was edited or deleted, as the log has done.

        What is read from the log as it was before that, and recalled, loses it as well.
        """
        self._changes[change.message_id] = change
        if len(self._changes) > MAX_CHANGES:
            since = self.since.offset
            kept = [one for one in self._changes.values() if one.offset > since]
            self._changes = {one.message_id: one for one in kept}
        self._last = None
        for index, event in enumerate(self._events):
            blanked = _after(change, event)
            if blanked is not event:
                self._events[index] = blanked
                self._bytes += blanked.size - event.size

    def recall(self, events: Sequence[Publication]) -> None:
        """Take in what came before, read from the log, as far as there is room for it.

        Ignored unless the last of them is the one before all that is here.
        """
        for read in reversed(events):
            event = read
            for change in self._changes.values():
                event = _after(change, event)
            if (event.epoch, event.offset) != (self.position.epoch, self.since.offset):
                return
            if self._bytes + event.size > self._max_bytes:
                return
            self._events.appendleft(event)
            self._bytes += event.size

    def contradicts(self, event: Publication) -> bool:
        """Whether another event is here under the same name; a blanked one is the same."""
        index = event.offset - self.since.offset - 1
        if event.epoch != self.position.epoch or not 0 <= index < len(self._events):
            return False
        return not may_be_one(self._events[index].event, event.event)

    def restart(self, position: Position) -> None:
        """Forget all and stand at `position`: after a gap that was not filled, or a new epoch."""
        self._events.clear()
        self._changes.clear()
        self._bytes = 0
        self.position = position
        self._last = None

    def after(self, position: Position) -> Batch | None:
        """The events a reader at `position` lacks; None if memory does not hold them all.

        Raises:
            ValueError: the reader lacks nothing.
        """
        missing = self.missing(position)
        if missing == 0:
            raise ValueError(position, self.position)
        if missing is None or missing > len(self._events):
            return None
        last, key = self._last, (position.offset, self.position.offset)
        if last is not None and last[:2] == key:
            return last[2]
        batch = Batch(list(islice(self._events, len(self._events) - missing, None)))
        self._last = (*key, batch)
        return batch

    def missing(self, position: Position) -> int | None:
        """How many events a reader at `position` lacks; None in another epoch."""
        if position.epoch != self.position.epoch:
            return None
        return max(0, self.position.offset - position.offset)


def _after(change: Change, event: Publication) -> Publication:
    """An event as it is after a change; the same object if it is not touched."""
    if event.offset >= change.offset:
        return event
    becomes = change.of(event.event)
    if becomes is event.event:
        return event
    return Publication(event.conversation_id, event.epoch, event.offset, becomes)
