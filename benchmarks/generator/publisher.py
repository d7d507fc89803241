"""One connection's publishing into one room: frames spliced from a template, answers counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.generator import frames
from benchmarks.generator import marker as markers

if TYPE_CHECKING:
    from benchmarks.generator.client import Client
    from benchmarks.generator.room import Room


class Publisher:
    """Publishes through a client.

    Attributes:
        acknowledged, unanswered: how many were acknowledged, and how many were not yet.
    """

    def __init__(
        self, client: Client, room: Room, number: int, *, text_bytes: int, acknowledgement: bytes
    ) -> None:
        self.client = client
        self.room = room
        self.acknowledged = self.unanswered = 0
        self._number = number
        self._sequence = 0
        self._filler = markers.filler(text_bytes)
        self._acknowledgement = acknowledgement
        self._tail = b""
        self._template = client.session.publishing(room.number)
        if client.session.is_websocket:
            head = frames.header(len(self._next(0)))
            self._template = head.replace(b"%", b"%%") + self._template
            self._sequence = 0

    def publish(self, times_us: list[int]) -> None:
        """Publish as many messages as there are times to be stamped with, in one write."""
        self.unanswered += len(times_us)
        self.room.sent += len(times_us)
        self.client.write(b"".join(map(self._next, times_us)))

    def take(self, data: bytes) -> None:
        """Count the acknowledgements in received bytes."""
        data = self._tail + data
        count = data.count(self._acknowledgement)
        self._tail = data[1 - len(self._acknowledgement) :]
        self.unanswered -= count
        self.acknowledged += count

    def _next(self, time_us: int) -> bytes:
        name = markers.identifier(self.room.number, self._number, self._sequence)
        self._sequence += 1
        return self._template % {
            b"id": name,
            b"text": markers.text(name, time_us, self._filler),
        }
