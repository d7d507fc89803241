"""Exactly once and in order: where the application stands in one conversation's log.

Four positions move through one log, each behind the one before:

    received ≥ handed ≥ finished ≥ acked

`received` is the last entry put into the inbox, `handed` the last one given to the application,
`finished` the last one it is done with (it asked for the next), `acked` what the server was told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_client.protocol.messages import Cursor, Event, Snapshot, UnreadableEvent

# How long an entry the server has named may take to arrive before the client asks for it.
PROMISE_TIMEOUT_S = 5.0


class Verdict(Enum):
    """What an event is to the timeline."""

    NEXT = "next"
    SEEN = "seen"
    GAP = "gap"


@dataclass
class Timeline:
    """Where one conversation stands.

    Attributes:
        start: Where the server said that this session begins, if nothing was received since.
        received: The last entry that was put into the inbox.
        is_catching_up: A `join_conversation` that asks for what is missing is on its way.
        is_behind: Entries were not taken, for want of room; they are to be asked for.
        ask_at: When to ask for it, if the server asked to come again later.
        gap_retries: How often a gap was found at the same place.
    """

    conversation_id: str
    start: Cursor | None = None
    received: Cursor | None = None
    handed: Cursor | None = None
    finished: Cursor | None = None
    acked: Cursor | None = None
    is_catching_up: bool = False
    is_behind: bool = False
    ask_at: float = 0.0
    gap_retries: int = 0
    _renamed: tuple[Cursor, Cursor] | None = None
    _promised: Cursor | None = None
    _promised_at: float = 0.0

    @property
    def cursor(self) -> Cursor | None:
        """Where to go on from after a drop."""
        return self.received or self.start

    @property
    def saved_cursor(self) -> Cursor | None:
        """Where to go on from after a restart of the program."""
        return self.handed or self.start

    def judge(self, event: Event | UnreadableEvent) -> Verdict:
        """Tell whether the event is the next one, seen before, or beyond a gap.

        An event that stands for several, some of them seen, counts as a gap: its text cannot be
        split, and the log has it in parts.
        """
        first = event.from_offset or event.offset
        if self.received is None:
            return self._judge_first(event, first)
        if event.epoch != self.received.epoch:
            return Verdict.SEEN if self._is_renamed(event) else Verdict.GAP
        if event.offset <= self.received.offset:
            return Verdict.SEEN
        return Verdict.NEXT if first == self.received.offset + 1 else Verdict.GAP

    def _judge_first(self, event: Event | UnreadableEvent, first: int) -> Verdict:
        if self.start is None:
            return Verdict.NEXT
        if event.epoch != self.start.epoch or first > self.start.offset + 1:
            return Verdict.GAP
        return Verdict.NEXT

    def take(self, entry: Event | UnreadableEvent | Snapshot, now: float) -> None:
        """The entry goes into the inbox. After a snapshot nothing counts that was known before."""
        if self.received is None or entry.epoch != self.received.epoch:
            self._renamed = None
        self.received = entry.cursor
        self.gap_retries = 0
        self._promised_at = now

    def is_news(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot tells more than what was received already."""
        if self.received is None or snapshot.epoch != self.received.epoch:
            return True
        return snapshot.offset > self.received.offset

    def rename(self, old: Cursor, new: Cursor) -> None:
        """The log goes on in another epoch: the place `old` is `new`. Others are left as they are.

        Who stands elsewhere lacks something, and finds a gap, or has had the news.
        """
        if self.cursor != old:
            return
        first = self._renamed[0] if self._renamed and self._renamed[1] == old else old
        self._renamed = (first, new)
        for name in ("start", "received", "handed", "finished"):
            if getattr(self, name) in (first, old):
                setattr(self, name, new)
        if self._promised is not None and self._promised.epoch == old.epoch:
            self.forgive()

    def name_of(self, cursor: Cursor) -> Cursor:
        """What a place is called now: entries at `cursor` may be in the inbox under an old name."""
        return self._renamed[1] if self._renamed and cursor == self._renamed[0] else cursor

    def _is_renamed(self, event: Event | UnreadableEvent) -> bool:
        """Whether an event comes again that was received before its epoch ended."""
        ended = self._renamed[0] if self._renamed else None
        return ended is not None and event.epoch == ended.epoch and event.offset <= ended.offset

    def starts_at(self, cursor: Cursor) -> None:
        """The server named the position from which on events come."""
        if self.cursor is None:
            self.start = cursor

    def promise(self, cursor: Cursor, now: float) -> None:
        """The server named an entry that this reader has had, or is to get."""
        promised = self._promised
        if promised is None or promised.epoch != cursor.epoch or cursor.offset > promised.offset:
            self._promised = cursor
            self._promised_at = now

    def excuse(self, now: float) -> None:
        """Nothing could arrive until now: the promise counts from here."""
        self._promised_at = now

    def is_overdue(self, now: float) -> bool:
        """Whether the server named an entry, and nothing came for `PROMISE_TIMEOUT_S`."""
        at, promised = self.cursor, self._promised
        if at is None or promised is None:
            return False
        is_missing = at.epoch != promised.epoch or at.offset < promised.offset
        return is_missing and now - self._promised_at >= PROMISE_TIMEOUT_S

    def forgive(self) -> None:
        """The promise is dropped; the log itself is being asked."""
        self._promised = None

    def link_lost(self) -> None:
        """What was under way on the link is void; the next one resumes from `cursor`."""
        self.is_catching_up = False
        self.is_behind = False
        self.acked = None
        self._promised = None
