"""Rooms full of clients, and publishers that keep a window of messages on the way."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.generator import marker as markers
from benchmarks.generator.client import Client
from benchmarks.generator.publisher import Publisher
from benchmarks.generator.room import Receiver, Room, faults
from benchmarks.generator.tokens import mint
from benchmarks.systems.base import Seat, subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.generator.engine import Engine
    from benchmarks.systems.base import System

JOIN_S = 60.0
SETTLE_S = 0.4  # of silence: what joining has set off is over
SAMPLED_ROOMS = 20  # rooms in which latency is sampled, at one receiver


@dataclass(frozen=True, slots=True)
class Shape:
    """Who is in how many rooms, and how much is on the way.

    Attributes:
        window: messages of one publisher that were not acknowledged, at most; a room has
            `publishers * window` that were not delivered to everybody, at most.
        text_bytes: what is published, and delivered.
    """

    rooms: int
    receivers: int
    publishers: int = 1
    window: int = 1
    text_bytes: int = 200


def seats(shape: Shape, first_room: int = 0, first_seat: int = 0) -> list[list[Seat]]:
    """A seat for each receiver, by room."""
    made = []
    for n in range(shape.rooms):
        start = first_seat + n * shape.receivers
        mates = range(start, start + shape.receivers)
        made.append(
            [
                Seat(number, (first_room + n,), number == start, mates, mint(subject(number)))
                for number in mates
            ]
        )
    return made


def join(engine: Engine, clients: Iterable[Client]) -> None:
    """Dial them all, and wait until they have joined."""
    waiting = [client for client in clients if not client.is_joined]
    engine.dial(waiting)
    engine.run_until_all(
        waiting,
        lambda client: client.is_joined,
        within_s=JOIN_S,
        what=f"{len(waiting)} clients join",
    )


def settle(engine: Engine, clients: Sequence[Client]) -> None:
    """Wait until nothing comes any more of what joining has set off."""

    def is_quiet() -> bool:
        return time.monotonic() - max(client.read_at for client in clients) > SETTLE_S

    engine.run_until(is_quiet, within_s=JOIN_S, what="what joining has set off is over")


class Load:
    """Joined clients, ready to be measured.

    Attributes:
        latencies_us: of the sampled deliveries, while `is_sampling`.
    """

    def __init__(
        self,
        engine: Engine,
        system: System,
        shape: Shape,
        *,
        first_room: int = 0,
        first_seat: int = 0,
        sampled_rooms: int = SAMPLED_ROOMS,
    ) -> None:
        self._sampled_rooms = sampled_rooms
        self.engine, self.system, self.shape = engine, system, shape
        self.rooms = [Room(first_room + n) for n in range(shape.rooms)]
        self.publishers: list[Publisher] = []
        self.clients: list[Client] = []
        self.latencies_us: list[int] = []
        self.is_sampling = False
        self._touched: set[Room] = set()
        self._of_room: dict[Room, list[Publisher]] = {room: [] for room in self.rooms}
        self._join(seats(shape, first_room, first_seat))

    @property
    def delivered(self) -> int:
        """All deliveries to all receivers."""
        return sum(one.delivered for room in self.rooms for one in room.receivers)

    @property
    def acknowledged(self) -> int:
        """All publishes that were."""
        return sum(one.acknowledged for one in self.publishers)

    @property
    def expected(self) -> int:
        """All deliveries there will be of what was published."""
        return sum(room.sent * len(room.receivers) for room in self.rooms)

    def faults(self) -> dict[str, int]:
        """Messages lost, doubled and out of order, over all receivers."""
        return faults(one for room in self.rooms for one in room.receivers)

    def pump(self, now: float) -> None:
        """Publish what the windows allow, in rooms where something has moved; an engine's turn."""
        del now
        if not self._touched:
            return
        now_us = markers.now_us()
        for room in self._touched:
            allowed = self.shape.window * self.shape.publishers - room.in_flight
            for publisher in self._of_room[room]:
                count = min(self.shape.window - publisher.unanswered, allowed)
                if count > 0:
                    publisher.publish([now_us] * count)
                    allowed -= count
        self._touched.clear()

    def start(self) -> None:
        """Begin to publish, and go on."""
        self._touched.update(self.rooms)
        self.engine.turns.append(self.pump)

    def stop(self) -> None:
        """Publish no more."""
        self.engine.turns.remove(self.pump)

    def drain(self, within_s: float = 10.0) -> None:
        """Wait until all that was published is delivered, or nothing comes any more."""
        self.engine.run_until(
            lambda: self.delivered >= self.expected,
            within_s=within_s,
            what="all that was published is delivered",
        )

    # set-up

    def _join(self, by_room: list[list[Seat]]) -> None:
        members = [[self._client(seat) for seat in one] for one in by_room]
        join(self.engine, [one[0] for one in members])
        join(self.engine, [client for one in members for client in one])
        senders = self._senders(by_room, members)
        join(self.engine, [client for one in senders for client in one if not client.is_joined])
        settle(self.engine, [client for one in (*members, *senders) for client in one])
        step = max(1, len(self.rooms) // self._sampled_rooms)
        for n, room in enumerate(self.rooms):
            publishing = self._publishing(room, senders[n])
            for client in members[n]:
                is_sampled = n % step == 0 and client is members[n][-1]
                self._listen(room, client, publishing.pop(client, None), is_sampled=is_sampled)
            for client, publisher in publishing.items():
                client.read_raw(self._answers(room, publisher))
        self.clients = [client for one in (*members, *senders) for client in one]

    def _client(self, seat: Seat, *, is_publisher: bool = False) -> Client:
        make = self.system.publisher if is_publisher else self.system.session
        session = make(seat, text_bytes=self.shape.text_bytes)
        port = self.system.ports[seat.number % len(self.system.ports)]
        return Client(self.engine, session, self.system.dialect, port)

    def _senders(
        self, by_room: list[list[Seat]], members: list[list[Client]]
    ) -> list[list[Client]]:
        if not self.system.needs_publishers:
            return [one[: self.shape.publishers] for one in members]
        wanted = range(self.shape.publishers)
        return [
            [self._client(one[n % len(one)], is_publisher=True) for n in wanted] for one in by_room
        ]

    def _publishing(self, room: Room, senders: list[Client]) -> dict[Client, Publisher]:
        acknowledgement = self.system.dialect.acknowledgement
        made = {
            client: Publisher(
                client,
                room,
                n,
                text_bytes=self.shape.text_bytes,
                acknowledgement=acknowledgement,
            )
            for n, client in enumerate(senders)
        }
        self._of_room[room] = list(made.values())
        self.publishers += made.values()
        return made

    # bytes

    def _listen(
        self, room: Room, client: Client, publisher: Publisher | None, *, is_sampled: bool
    ) -> None:
        receiver = Receiver(room, gets_answers=publisher is not None)
        hear = self._sampling(receiver) if is_sampled else receiver.take
        touch = self._touched.add
        answers = None if publisher is None else self._answers(room, publisher)

        def take(data: bytes) -> None:
            hear(data)
            touch(room)
            if answers is not None:
                answers(data)

        client.read_raw(take)

    def _answers(self, room: Room, publisher: Publisher) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            publisher.take(data)
            self._touched.add(room)

        return take

    def _sampling(self, receiver: Receiver) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            now_us = markers.now_us()
            heard = receiver.take_markers(data)
            if self.is_sampling:
                self.latencies_us += [markers.age_us(one, now_us) for one in heard]

        return take
