"""(a) again, at a fixed rate below saturation: how long a delivery takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.generator.engine import Engine
from benchmarks.generator.load import Load, Shape
from benchmarks.generator.pace import Pace
from benchmarks.workloads.fanout import DRAIN_S, observe
from benchmarks.workloads.stage import staged
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Numbers

PER_S = 5_000
SHAPE = Shape(100, 2)
CASE = "5,000 messages/s over 100 rooms of 2"


class Rate(Workload):
    """Messages come when they are due, not when the server is ready for them."""

    key = "rate"
    budget_s = 40.0

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """One case."""
        with staged(entry) as stage, Engine() as engine:
            load = Load(engine, entry.system, scale.shape(SHAPE))
            pace = Pace(engine, load.publishers, scale.rate(PER_S), behind_s=scale.behind_s)
            pace.start()
            engine.run_for(scale.warm_up_of(entry.system))
            numbers = observe(load, stage, scale.rate_s)
            pace.stop()
            load.drain(DRAIN_S)
            yield CASE, _or_why_not(numbers | load.faults(), scale.rate(PER_S), scale.kept)


def _or_why_not(numbers: Numbers, per_s: float, least: float) -> Numbers | str:
    """A latency tells nothing where messages pile up."""
    kept = numbers["messages_per_s"]
    if kept < least * per_s:
        return f"does not keep up: {kept:,.0f} of {per_s:,.0f} messages/s"
    return numbers
