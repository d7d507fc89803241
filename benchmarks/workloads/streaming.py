"""(e) Token streaming: 200 runs at 50 deltas a second, each to 2 devices; the delay that is added.

Where the server runs agents, one of ours yields the deltas and stamps them. Elsewhere a connection
a run publishes them, as a worker beside the server would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.generator import frames
from benchmarks.generator.engine import Engine
from benchmarks.generator.load import Load, Shape
from benchmarks.generator.marker import MARKER_BYTES
from benchmarks.generator.pace import Pace
from benchmarks.workloads.fanout import DRAIN_S, latencies
from benchmarks.workloads.stage import staged
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Numbers

RUNS = 200
DELTAS_PER_S = 50
SHAPE = Shape(RUNS, 2, text_bytes=MARKER_BYTES + 1)
CASE = "200 runs of 50 deltas/s to 2 devices"


class Streaming(Workload):
    """Every delta is timed, at one device of each run."""

    key = "streaming"
    budget_s = 15.0

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """One case."""
        with staged(entry) as stage, Engine() as engine:
            load = Load(engine, entry.system, scale.shape(SHAPE), sampled_rooms=RUNS)
            load.is_sampling = True
            meter = stage.meter()
            if load.clients[0].session.asking(0, "") is None:
                _publish(engine, load, scale)
            else:
                _ask(load, scale)
            load.drain(DRAIN_S + scale.stream_s)
            yield (
                CASE,
                {
                    **latencies(load.latencies_us),
                    **meter.shares().numbers(),
                    **load.faults(),
                },
            )


def _publish(engine: Engine, load: Load, scale: Scale) -> None:
    per_s = DELTAS_PER_S * len(load.rooms)
    pace = Pace(engine, load.publishers, per_s, behind_s=scale.behind_s)
    pace.start()
    engine.run_for(scale.stream_s)
    pace.stop()


def _ask(load: Load, scale: Scale) -> None:
    count = int(DELTAS_PER_S * scale.stream_s)
    for publisher in load.publishers:
        room = publisher.room
        asked = publisher.client.session.asking(
            room.number, f"{room.number} {count} {DELTAS_PER_S}"
        )
        room.sent = count
        for receiver in room.receivers:
            receiver.limit = count  # the whole text comes again, with the message it makes
        publisher.client.write(frames.frame(asked or b""))
