"""(a) Publish durably, deliver to everybody in the room: how many a second, how long each takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.generator.engine import Engine
from benchmarks.generator.errors import MeasurementError
from benchmarks.generator.load import Load, Shape
from benchmarks.workloads.stage import staged
from benchmarks.workloads.statistics import percentile
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.stage import Stage
    from benchmarks.workloads.workload import Numbers

DRAIN_S = 30.0
SHAPES = {
    "1 room of 2, one at a time": Shape(1, 2),
    "1 room of 100, one at a time": Shape(1, 100),
    "1 room of 1000, one at a time": Shape(1, 1000),
    "1 room of 2, saturated": Shape(1, 2, publishers=2, window=64),
    "1 room of 100, saturated": Shape(1, 100, publishers=8, window=16),
    "1 room of 1000, saturated": Shape(1, 1000, publishers=8, window=16),
    "100 rooms of 2, saturated": Shape(100, 2, window=16),
}


class Fanout(Workload):
    """All kinds of rooms, one after the other, on a system started once a round."""

    key = "fanout"
    budget_s = 120.0
    uses_workers = True

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """Each kind of rooms."""
        with staged(entry) as stage:
            first_room = first_seat = 0
            for name, full in SHAPES.items():
                shape = scale.shape(full)
                warm_up_s = scale.warm_up_of(None if first_room else entry.system)
                load = Load(
                    Engine(), stage.system, shape, first_room=first_room, first_seat=first_seat
                )
                try:
                    yield name, measure(load, stage, warm_up_s, scale.fanout_s)
                except MeasurementError as problem:
                    yield name, str(problem)
                first_room += shape.rooms
                first_seat += shape.rooms * shape.receivers


def latencies(taken_us: list[int]) -> Numbers:
    """How long deliveries took; nothing if none was timed."""
    if not taken_us:
        return {}
    return {f"p{n}_ms": percentile(taken_us, n) / 1000 for n in (50, 99)}


def measure(load: Load, stage: Stage, warm_up_s: float, seconds: float) -> Numbers:
    """One kind of rooms."""
    with load.engine as engine:
        load.start()
        engine.run_for(warm_up_s)
        numbers = observe(load, stage, seconds)
        load.stop()
        load.drain(DRAIN_S)
        return numbers | load.faults()


def observe(load: Load, stage: Stage, seconds: float) -> Numbers:
    """What passes, meanwhile."""
    began, meter = time.monotonic(), stage.meter()
    delivered, acknowledged, load.is_sampling = load.delivered, load.acknowledged, True
    load.engine.run_for(seconds)
    passed, shares = time.monotonic() - began, meter.shares()
    load.is_sampling = False
    return {
        "deliveries_per_s": (load.delivered - delivered) / passed,
        "messages_per_s": (load.acknowledged - acknowledged) / passed,
        **latencies(load.latencies_us),
        **shares.numbers(),
    }
