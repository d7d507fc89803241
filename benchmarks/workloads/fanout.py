"""(a) Publish durably, deliver to everybody in the room: how many a second, how long each takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.generator.engine import Engine
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
    "1 room of 1000, saturated": Shape(1, 1000, publishers=8, window=8),
    "100 rooms of 2, saturated": Shape(100, 2, window=16),
}


class Fanout(Workload):
    """All kinds of rooms, one after the other, on a system started once a round."""

    key = "fanout"

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers]]:
        """Each kind of rooms."""
        with staged(entry) as stage:
            first_room = first_seat = 0
            for name, full in SHAPES.items():
                shape = scale.shape(full)
                yield name, measure(stage, shape, scale, first_room, first_seat)
                first_room += shape.rooms
                first_seat += shape.rooms * shape.receivers


def measure(stage: Stage, shape: Shape, scale: Scale, first_room: int, first_seat: int) -> Numbers:
    """One kind of rooms."""
    with Engine() as engine:
        load = Load(engine, stage.system, shape, first_room=first_room, first_seat=first_seat)
        load.start()
        engine.run_for(scale.warm_up_s)
        began, meter = time.monotonic(), stage.meter()
        delivered, acknowledged, load.is_sampling = load.delivered, load.acknowledged, True
        engine.run_for(scale.fanout_s)
        passed, shares = time.monotonic() - began, meter.shares()
        delivered, acknowledged = load.delivered - delivered, load.acknowledged - acknowledged
        load.is_sampling = False
        load.stop()
        load.drain(DRAIN_S)
        return {
            "deliveries_per_s": delivered / passed,
            "messages_per_s": acknowledged / passed,
            "p50_ms": percentile(load.latencies_us, 50) / 1000,
            "p99_ms": percentile(load.latencies_us, 99) / 1000,
            **shares.numbers(),
            **load.faults(),
        }
