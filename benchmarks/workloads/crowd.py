"""Clients that come back: each keeps its session and what it has heard over its connections."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.generator import marker as markers
from benchmarks.generator.client import Client
from benchmarks.generator.publisher import Publisher
from benchmarks.generator.room import Receiver, faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.generator.engine import Engine
    from benchmarks.generator.room import Room
    from benchmarks.systems.base import Seat, Session, System

TEXT_BYTES = 200
PUBLISH_S = 30.0


class Member:
    """One client and the rooms it hears, over as many connections as it takes.

    Attributes:
        caught_up_at: when it had heard all that it was to hear, in s; 0.0 before that.
    """

    def __init__(self, engine: Engine, system: System, seat: Seat, rooms: Sequence[Room]) -> None:
        self.caught_up_at = 0.0
        self.receivers = [Receiver(room) for room in rooms]
        self._of_room = {
            b"%04d" % room.number: one for room, one in zip(rooms, self.receivers, strict=True)
        }
        self._engine, self._system = engine, system
        self._session: Session = system.session(seat, text_bytes=TEXT_BYTES)
        self._wanted = 0
        self._behind: list[Receiver] = []  # of `receivers`, those not known to be caught up
        self.client = self._dialled(0)

    @property
    def delivered(self) -> int:
        """What it has heard of all its rooms."""
        return sum(one.delivered for one in self.receivers)

    def cut(self) -> None:
        """Lose the connection, without a word."""
        self._session = self.client.session
        self.client.cut()

    def come_back(self, replica: int, *, wanted: int, is_parsed: bool = False) -> Client:
        """A new connection, to be dialled, that resumes.

        It is caught up when it has the first `wanted` messages of each room.
        """
        self._session = self._session.resumed()
        self._wanted, self.caught_up_at = wanted, 0.0
        self._behind = list(self.receivers)
        for receiver in self.receivers:
            receiver.reconnected()
        self.client = self._dialled(replica)
        if not is_parsed:
            self.client.on_raw = self._hear
        return self.client

    def _dialled(self, replica: int) -> Client:
        port = self._system.ports[replica]
        client = Client(self._engine, self._session, self._system.dialect, port)
        client.on_message = self._hear
        return client

    def _hear(self, data: bytes) -> None:
        if len(self.receivers) == 1:
            self.receivers[0].take_markers(data)
        else:  # only where messages are parsed, and so are whole
            self._hear_of_rooms(data)
        if not self.caught_up_at and self._wanted and self._is_caught_up():
            self.caught_up_at = time.monotonic()

    def _is_caught_up(self) -> bool:
        while self._behind and self._behind[-1].has_first(self._wanted):
            self._behind.pop()
        return not self._behind

    def _hear_of_rooms(self, data: bytes) -> None:
        for marker in markers.MARKER.findall(data):
            self._of_room[marker[:4]].take_markers(markers.SEPARATOR + marker)


class Crowd:
    """Members of rooms, and a publisher a room."""

    def __init__(self, engine: Engine, system: System) -> None:
        self.rooms: list[Room] = []
        self.members: list[Member] = []
        self.publishers: list[Publisher] = []
        self.engine, self.system = engine, system

    @property
    def expected(self) -> int:
        """All deliveries there will be of what was published."""
        return sum(room.sent * len(room.receivers) for room in self.rooms)

    @property
    def delivered(self) -> int:
        """All deliveries."""
        return sum(one.delivered for one in self.members)

    def faults(self) -> dict[str, int]:
        """Messages lost, doubled and out of order, over all members."""
        return faults(one for member in self.members for one in member.receivers)

    def publisher(self, seat: Seat, room: Room, replica: int, number: int = 0) -> Client:
        """A connection that publishes into a room, to be dialled."""
        session = self.system.publisher(seat, text_bytes=TEXT_BYTES)
        client = Client(self.engine, session, self.system.dialect, self.system.ports[replica])
        client.on_change = lambda one: self._ready(one, room, number)
        return client

    def publish(self, count: int) -> None:
        """Publish so many messages into each room, and wait until Redis has them."""
        for publisher in self.publishers:
            publisher.publish([markers.now_us()] * count)
        self.engine.run_until(
            lambda: all(one.unanswered == 0 for one in self.publishers),
            within_s=PUBLISH_S,
            what=f"{count} messages a room are acknowledged",
        )

    def wait_delivered(self, within_s: float = PUBLISH_S) -> None:
        """Wait until all members have heard all."""
        self.engine.run_until(
            lambda: self.delivered >= self.expected,
            within_s=within_s,
            what="all that was published is delivered",
        )

    def _ready(self, client: Client, room: Room, number: int) -> None:
        if not client.is_joined or client.on_raw is not None:
            return
        made = Publisher(
            client,
            room,
            number,
            text_bytes=TEXT_BYTES,
            acknowledgement=self.system.dialect.acknowledgement,
        )
        self.publishers.append(made)
        client.read_raw(made.take)
