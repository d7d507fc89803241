"""(d) What a connection that does nothing costs in memory: joined to a room of 2, pings on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.generator.client import Client
from benchmarks.generator.engine import Engine
from benchmarks.generator.load import Shape, join, seats
from benchmarks.generator.usage import rss_bytes
from benchmarks.workloads.stage import staged
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.systems.base import System
    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Numbers

COUNTS = (1000, 5000)
WARM_UP_ROOMS = 50
WARM_UP_ROUNDS = 2


class Idle(Workload):
    """Resident memory of the serving processes, above that with no connection left."""

    key = "idle"
    budget_s = 20.0

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """A case for each count; those of the first stay for the second."""
        system = entry.system
        with staged(entry), Engine() as engine:
            warm_up_rooms = scale.count(WARM_UP_ROOMS)
            for n in range(WARM_UP_ROUNDS):
                _warm_up(
                    engine,
                    system,
                    range(n * warm_up_rooms, (n + 1) * warm_up_rooms),
                    scale.settle_s,
                )
            before, rooms = rss_bytes(system.pids), WARM_UP_ROUNDS * warm_up_rooms
            connections = 0
            for full in COUNTS:
                wanted = scale.count(full)
                more = range(rooms, rooms + (wanted - connections) // 2)
                _join_rooms(engine, system, more)
                rooms, connections = more.stop, wanted
                engine.run_for(scale.settle_s)
                used = rss_bytes(system.pids) - before
                yield f"{full} idle", {"kib_per_connection": used / 1024 / connections}


def _warm_up(engine: Engine, system: System, rooms: range, settle_s: float) -> None:
    for client in _join_rooms(engine, system, rooms):
        client.cut()
    engine.run_for(settle_s)


def _join_rooms(engine: Engine, system: System, rooms: range) -> list[Client]:
    by_room = seats(Shape(len(rooms), 2), rooms.start, 2 * rooms.start)
    made = [
        [
            Client(engine, system.session(seat, text_bytes=200), system.dialect, system.ports[0])
            for seat in one
        ]
        for one in by_room
    ]
    join(engine, [one[0] for one in made])
    join(engine, [client for one in made for client in one[1:]])
    return [client for one in made for client in one]
