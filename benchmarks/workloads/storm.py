"""(c) Reconnect storms: all clients drop at once, miss 50 messages each, and all come back at once.

Rooms of 100. Two replicas share a Redis, on one core. The clients were at the first, which is
killed, and come back at the second:

cold   the second never heard of their rooms: what was missed is only in Redis. The first sees them
       drop, and takes the missed messages, before it is killed.
warm   the second has a listener in each room and takes the missed messages; the first is killed
       under its clients.

With live traffic, 5 more messages a second go into each room meanwhile. The time is from the first
dialling until the last client has all it had missed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.generator.client import Client
from benchmarks.generator.engine import Engine
from benchmarks.generator.errors import MeasurementError, TooSlow
from benchmarks.generator.load import join, settle
from benchmarks.generator.pace import Pace
from benchmarks.generator.room import Room
from benchmarks.generator.tokens import mint
from benchmarks.systems.base import Seat, subject
from benchmarks.workloads.crowd import TEXT_BYTES, Crowd, Member
from benchmarks.workloads.stage import staged
from benchmarks.workloads.statistics import percentile
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.systems.base import System
    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.stage import Stage
    from benchmarks.workloads.workload import Numbers

ROOM = 100
EXTRA = 2  # seats of a room that stay: its publisher and, at a warm replica, its listener
MISSED = 50
LIVE_PER_ROOM_S = 5
NOTICED_S = 0.4  # until servers and Redis have seen who is gone
FIRST, SECOND = 0, 1


@dataclass(frozen=True, slots=True)
class Case:
    """One storm."""

    clients: int
    is_warm: bool = False
    is_live: bool = False

    @property
    def name(self) -> str:
        """As it stands in results."""
        words = [f"{self.clients} clients", "warm" if self.is_warm else "cold"]
        return ", ".join([*words, "live traffic"] if self.is_live else words)


class Storm(Workload):
    """Storms of given kinds; one that a system does not get through is not tried again."""

    def __init__(self, key: str, cases: list[Case], *, budget_s: float) -> None:
        self.key = key
        self.budget_s = budget_s
        self._cases = cases
        self._failed: set[tuple[str, Case]] = set()

    def entries(self, one: Entry, scale: Scale) -> list[Entry]:
        """With authentication; without, where there is a choice and a budget for it."""
        is_for_all = one.system.is_for_all_storms
        has_variants = scale.has_variants and self.budget_s > 0 and is_for_all
        entries = one.with_and_without_auth(has_variants=has_variants)
        is_for_these = self.budget_s > 0 or is_for_all
        return entries if one.system.can_resume and is_for_these else []

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """Each case on a system of its own: a replica dies in it."""
        for case in self._cases:
            if (entry.name, case) in self._failed:
                continue
            try:
                with staged(entry, replicas=2) as stage, Engine() as engine:
                    yield case.name, _storm(stage, engine, case, scale)
            except MeasurementError as problem:
                self._failed.add((entry.name, case))
                yield case.name, str(problem)


def _storm(stage: Stage, engine: Engine, case: Case, scale: Scale) -> Numbers:
    crowd = Crowd(engine, stage.system)
    size = scale.count(ROOM)
    rooms = max(1, scale.count(case.clients) // size)
    seats = [_seats(n, size) for n in range(rooms)]
    crowd.rooms = [Room(n) for n in range(rooms)]
    _gather(crowd, seats, case)
    crowd.publish(1)  # so that everybody has a position
    crowd.wait_delivered()
    _drop(crowd, case)
    pace = _live(crowd, seats, case, scale) if case.is_live else None
    meter, began = stage.meter(), time.monotonic()
    _come_back(crowd, scale.patience_s)
    shares = meter.shares()
    if pace is not None:
        pace.stop()
    with suppress(TooSlow):
        crowd.wait_delivered(scale.rest_s)
    took = [member.caught_up_at - began for member in crowd.members]
    timed = {"total_s": max(took), "p50_s": percentile(took, 50), "p99_s": percentile(took, 99)}
    return timed | shares.numbers() | crowd.faults()


def _seats(room: int, size: int) -> list[Seat]:
    numbers = range(room * (size + EXTRA), (room + 1) * (size + EXTRA))
    return [Seat(n, (room,), n == numbers[0], numbers, mint(subject(n))) for n in numbers]


def _gather(crowd: Crowd, seats: list[list[Seat]], case: Case) -> None:
    stays = SECOND if case.is_warm else FIRST
    pairs = list(zip(crowd.rooms, seats, strict=True))
    join(crowd.engine, [crowd.publisher(of[0], room, stays) for room, of in pairs])
    if case.is_warm:
        join(crowd.engine, [_listener(crowd.engine, crowd.system, of[1]) for of in seats])
    crowd.members = [
        Member(crowd.engine, crowd.system, seat, [room])
        for room, of in pairs
        for seat in of[EXTRA:]
    ]
    joined = [member.client for member in crowd.members]
    join(crowd.engine, joined)
    settle(crowd.engine, joined)


def _listener(engine: Engine, system: System, seat: Seat) -> Client:
    session = system.session(seat, text_bytes=TEXT_BYTES)
    client = Client(engine, session, system.dialect, system.ports[SECOND])
    client.on_raw = lambda _: None
    return client


def _drop(crowd: Crowd, case: Case) -> None:
    lost = [member.client for member in crowd.members]
    if not case.is_warm:
        for member in crowd.members:
            member.cut()
        crowd.engine.run_for(NOTICED_S)
        crowd.publish(MISSED)
        lost = [publisher.client for publisher in crowd.publishers]
    for client in lost:
        client.is_expendable = True
    crowd.system.kill(FIRST)
    crowd.engine.run_for(NOTICED_S)
    for member in crowd.members:
        member.cut()
    if case.is_warm:
        crowd.publish(MISSED)


def _live(crowd: Crowd, seats: list[list[Seat]], case: Case, scale: Scale) -> Pace:
    if not case.is_warm:  # the publishers died with their replica
        crowd.publishers = []
        pairs = zip(crowd.rooms, seats, strict=True)
        join(crowd.engine, [crowd.publisher(of[0], room, SECOND, 1) for room, of in pairs])
    per_s = LIVE_PER_ROOM_S * len(crowd.rooms)
    pace = Pace(crowd.engine, crowd.publishers, per_s, behind_s=scale.behind_s)
    pace.start()
    return pace


def _come_back(crowd: Crowd, within_s: float) -> None:
    wanted = 1 + MISSED
    crowd.engine.dial([one.come_back(SECOND, wanted=wanted) for one in crowd.members])
    try:
        crowd.engine.run_until_all(
            crowd.members,
            lambda one: bool(one.caught_up_at),
            within_s=within_s,
            what="all have what they missed",
        )
    except TooSlow:
        have = sum(1 for one in crowd.members if one.caught_up_at)
        raise TooSlow(f"{have} of {len(crowd.members)} have what they missed") from None
