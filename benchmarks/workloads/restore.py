"""(f) How long one client takes to be whole again: from dialling to the last of what it missed.

10 messages were missed in each of its conversations. The gateway must also have said `live`.
What counts is when the last bytes were read. To look through them takes the generator as long as
a fast server needs for all of it, so that is not on the clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.generator.engine import Engine
from benchmarks.generator.errors import MeasurementError
from benchmarks.generator.load import join
from benchmarks.generator.room import Room
from benchmarks.generator.tokens import mint
from benchmarks.systems.base import Seat, subject
from benchmarks.workloads.crowd import Crowd, Member
from benchmarks.workloads.stage import staged
from benchmarks.workloads.statistics import percentile
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Numbers

MISSED = 10
RESTORE_S = 10.0
COUNTS = (1, 10)


class Restore(Workload):
    """One client, again and again."""

    key = "restore"
    budget_s = 10.0

    def entries(self, one: Entry, scale: Scale) -> list[Entry]:
        """Those that can resume."""
        del scale
        return [one] if one.system.can_resume else []

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """A case for each count of conversations."""
        first_room = 0
        with staged(entry) as stage:
            for count in COUNTS:
                if count > entry.system.rooms_a_session:
                    continue
                name = f"{count} conversation{'s' if count > 1 else ''}"
                try:
                    with Engine() as engine:
                        crowd = _crowd(Crowd(engine, stage.system), first_room, count)
                        meter = stage.meter()
                        times = [_restore(crowd) for _ in range(scale.restores)]
                        stolen = meter.shares().stolen  # the others are mostly of its publishing
                    yield name, _numbers(times) | {"stolen_cpu": stolen} | crowd.faults()
                except MeasurementError as problem:
                    yield name, str(problem)
                first_room += count


def _crowd(crowd: Crowd, first_room: int, count: int) -> Crowd:
    names = range(first_room, first_room + count)
    crowd.rooms = [Room(n) for n in names]
    own, other = 2 * first_room, 2 * first_room + 1
    mates, token = (own, other), mint(subject(own))
    seat = Seat(own, tuple(names), is_first=True, mates=mates, token=token)
    crowd.members = [Member(crowd.engine, crowd.system, seat, crowd.rooms)]
    join(crowd.engine, [crowd.members[0].client])
    token = mint(subject(other))
    senders = [
        crowd.publisher(
            Seat(other, (room.number,), is_first=False, mates=mates, token=token), room, 0
        )
        for room in crowd.rooms
    ]
    join(crowd.engine, senders)
    crowd.publish(1)
    crowd.wait_delivered()
    return crowd


def _restore(crowd: Crowd) -> float:
    (member,) = crowd.members
    member.cut()
    crowd.publish(MISSED)
    client = member.come_back(0, wanted=crowd.rooms[0].sent, is_parsed=True)
    crowd.engine.dial([client])
    crowd.engine.run_until(
        lambda: bool(member.caught_up_at and (crowd.system.is_peer or client.session.is_caught_up)),
        within_s=RESTORE_S,
        what="it has what it missed",
    )
    return client.read_at - client.dialled_at


def _numbers(times: list[float]) -> Numbers:
    return {"p50_ms": percentile(times, 50) * 1000, "p99_ms": percentile(times, 99) * 1000}
