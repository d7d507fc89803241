"""What a room's receivers must hear, and what each of them has heard.

The first receiver to hear a message puts it into the room's log, if it is its publisher's next
one. The others are compared with the log, many messages at a time: whoever hears the same as the
log has lost, doubled and reordered nothing. In large rooms the bytes themselves are compared, as
the server writes the same bytes to all.

A receiver that hears something else than the log is judged by itself from then on: publishers may
be heard in another order by each receiver; the messages of one publisher may not.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Literal

from benchmarks.generator import marker as markers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BYTES_COMPARED = 8  # receivers from which on the bytes of a room are compared
FAULTS = ("lost", "doubled", "reordered", "strayed")
GAUGED = 8  # receivers of a room that tell how far it is


class Room:
    """One room: what was sent into it, and what all heard."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = 0
        self.receivers: list[Receiver] = []
        self.log: list[bytes] = []
        self.stream = bytearray()
        self.ends: list[int] = []  # where in the stream each message of the log is complete
        self._next: dict[bytes, int] = {}
        self._places: dict[bytes, list[int]] = {}  # in the log, of each publisher's messages
        self._placed = 0  # so much of the log is in it: only as far as somebody asked
        self._gauge: list[Receiver] = []

    def add(self, receiver: Receiver) -> None:
        """Listen with it from here on."""
        self.receivers.append(receiver)
        self._gauge = self.receivers[:: max(1, len(self.receivers) // GAUGED)]

    @property
    def in_flight(self) -> int:
        """How many messages have not reached everybody, as a few of them tell."""
        return self.sent - min((one.delivered for one in self._gauge), default=self.sent)

    def agrees(self, position: int, heard: Sequence[bytes]) -> bool:
        """Whether the log has this at the position, or could be extended by it."""
        known = len(self.log) - position
        if known >= len(heard):
            return self.log[position : position + len(heard)] == heard
        return self.log[position:] == heard[:known] and self._extend(heard[known:])

    def place(self, publisher: bytes, number: int) -> int:
        """Where in the log a publisher's message stands; beyond its end if nobody has heard it."""
        for n in range(self._placed, len(self.log)):
            self._places.setdefault(self.log[n][4:8], []).append(n)
        self._placed = len(self.log)
        places = self._places.get(publisher, ())
        return places[number] if number < len(places) else len(self.log)

    def extend_stream(self, data: bytes) -> bool:
        """Add bytes that somebody was the first to hear; whether they agree with the log."""
        before = len(self.stream)
        begun = markers.beginning(bytes(self.stream[-markers.MARKER_BYTES :]))
        found = list(markers.MARKER.finditer(begun + data))
        if not self.agrees(len(self.ends), [one[1] for one in found]):
            return False
        self.stream += data
        self.ends += [before - len(begun) + one.end() for one in found]
        return True

    def _extend(self, heard: Sequence[bytes]) -> bool:
        for one in heard:
            expected = self._next.get(one[4:8], 0)
            if int(one[8:16]) != expected or int(one[:4]) != self.number:
                return False
            self._next[one[4:8]] = expected + 1
            self.log.append(one)
        return True


class Receiver:
    """What one connection heard of one room.

    Args:
        room: the room.
        gets_answers: whether it publishes, too: its bytes are not those of the others.
    """

    def __init__(self, room: Room, *, gets_answers: bool = False) -> None:
        self.reordered = 0
        self.doubled = 0
        self.strayed = 0  # from other rooms
        self.limit = 0  # messages after so many are not the workload's; 0: all are
        self._room = room
        self._carry = b""
        self._position = 0  # in the log
        # in the stream; None if its bytes are not the stream's
        self._at: int | None = None if gets_answers else 0
        self._heard: dict[bytes, _Heard] | None = None  # by publisher, when judged by itself
        self._count = 0
        room.add(self)

    @property
    def is_compared(self) -> bool:
        """Whether its bytes are the room's, so that nobody has had to look for markers in them."""
        return self._at is not None

    @property
    def delivered(self) -> int:
        """How many messages it has heard, each counted once."""
        if self._at is not None:
            return bisect_right(self._room.ends, self._at)
        return self._position if self._heard is None else self._count

    def has_first(self, count: int, publisher: bytes = b"0000") -> bool:
        """Whether it has heard the first messages of a publisher, so many, all of them."""
        if self.delivered < count:
            return False
        if self._heard is not None:
            return publisher in self._heard and self._heard[publisher].unbroken >= count
        return self._room.place(publisher, count - 1) < self.delivered

    @property
    def lost(self) -> int:
        """How many messages it has not heard."""
        return self._room.sent - self.delivered

    def take(self, data: bytes) -> None:
        """Take received bytes."""
        if self._at is not None:
            if len(self._room.receivers) >= BYTES_COMPARED and self._take_as_stream(data, self._at):
                return
            self._leave_stream(self._at)
        self.take_markers(data)

    def take_markers(self, data: bytes) -> list[bytes]:
        """Take received bytes; return the markers that became whole."""
        if self._at is not None:
            self._leave_stream(self._at)
        if self._carry:
            data = self._carry + data
        heard = markers.MARKER.findall(data)
        self._carry = markers.beginning(data)
        if self.limit:
            del heard[max(0, self.limit - self.delivered) :]
        if self._heard is None and self._room.agrees(self._position, heard):
            self._position += len(heard)
        else:
            self._judge(heard)
        return heard

    def reconnected(self) -> None:
        """Go on over another connection: what was begun is not ended."""
        self._carry = b""

    def _take_as_stream(self, data: bytes, at: int) -> bool:
        stream = self._room.stream
        known = len(stream) - at
        if known >= len(data):
            is_same = stream.startswith(data, at)
        else:
            is_same = stream.startswith(data[:known], at) and self._room.extend_stream(data[known:])
        if is_same:
            self._at = at + len(data)
        return is_same

    def _leave_stream(self, at: int) -> None:
        self._position = bisect_right(self._room.ends, at)
        self._carry = markers.beginning(
            bytes(self._room.stream[max(0, at - markers.MARKER_BYTES) : at])
        )
        self._at = None

    def _judge(self, heard: Sequence[bytes]) -> None:
        if self._heard is None:
            self._heard = {}
            self._judge(self._room.log[: self._position])
        for one in heard:
            if int(one[:4]) != self._room.number:
                self.strayed += 1
                continue
            of_publisher = self._heard.setdefault(one[4:8], _Heard())
            verdict = of_publisher.judge(int(one[8:16]))
            self.doubled += verdict == "doubled"
            self.reordered += verdict == "reordered"
            self._count += verdict != "doubled"


def faults(receivers: Iterable[Receiver]) -> dict[str, int]:
    """What went wrong, over all of them, by `FAULTS`."""
    counted = list(receivers)
    return {name: sum(getattr(one, name) for one in counted) for name in FAULTS}


class _Heard:
    """Which messages of one publisher were heard."""

    def __init__(self) -> None:
        self.unbroken = 0  # so many were heard from the first one on
        self._early: set[int] = set()  # heard after a gap

    def judge(self, sequence: int) -> Literal["in order", "after a gap", "reordered", "doubled"]:
        if sequence < self.unbroken or sequence in self._early:
            return "doubled"
        if sequence > self.unbroken:
            is_late = bool(self._early) and sequence < max(self._early)
            self._early.add(sequence)
            return "reordered" if is_late else "after a gap"
        is_late = bool(self._early)
        self.unbroken += 1
        while self.unbroken in self._early:
            self._early.remove(self.unbroken)
            self.unbroken += 1
        return "reordered" if is_late else "in order"
