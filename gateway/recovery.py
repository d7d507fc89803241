"""Recovery without I/O: what a reader at a position does with what it hears, and the log's tail.

A reader is either live, and takes events as they are heard, or catching up, and takes them from
the tail in memory or from the log. It turns live at the moment it has all the tail has; there is
no second buffer whose merging could double or lose an event.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from gateway.messages import Position

if TYPE_CHECKING:
    from gateway.published import Published


class Verdict(Enum):
    """What an event is to a reader at a position."""

    NEXT = "next"
    DUPLICATE = "duplicate"
    GAP = "gap"
    OTHER_EPOCH = "other_epoch"


def judge(position: Position, epoch: str, offset: int) -> Verdict:
    """Tell what the event at `offset` of `epoch` is to a reader who has all up to `position`."""
    if epoch != position.epoch:
        return Verdict.OTHER_EPOCH
    if offset <= position.offset:
        return Verdict.DUPLICATE
    return Verdict.NEXT if offset == position.offset + 1 else Verdict.GAP


class Tail:
    """The newest events of one conversation, in memory, bounded; and where the log stands.

    Promises: events are contiguous, in order, of one epoch. When full, the oldest go: a reader
    further behind reads the log.
    """

    def __init__(self, position: Position, *, max_bytes: int) -> None:
        self.position = position
        self._events: deque[Published] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes

    def append(self, event: Published) -> None:
        """Add the next event.

        Raises:
            ValueError: it is not the next one; the caller judges first.
        """
        if judge(self.position, event.epoch, event.offset) is not Verdict.NEXT:
            raise ValueError(event.offset, self.position)
        self._events.append(event)
        self._bytes += event.size
        self.position = Position(event.epoch, event.offset)
        while self._bytes > self._max_bytes and len(self._events) > 1:
            self._bytes -= self._events.popleft().size

    def restart(self, position: Position) -> None:
        """Forget all and stand at `position`: after a gap that was not filled, or a new epoch."""
        self._events.clear()
        self._bytes = 0
        self.position = position

    def after(self, position: Position) -> list[Published] | None:
        """The events a reader at `position` lacks; None if memory does not reach back so far."""
        if position.epoch != self.position.epoch:
            return None
        missing = self.position.offset - position.offset
        if missing <= 0:
            return []
        if missing > len(self._events):
            return None
        return [
            self._events[index] for index in range(len(self._events) - missing, len(self._events))
        ]
