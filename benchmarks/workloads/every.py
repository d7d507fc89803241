"""All workloads, in the order in which they run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.workloads.connects import Connects
from benchmarks.workloads.fanout import Fanout
from benchmarks.workloads.idle import Idle
from benchmarks.workloads.rate import Rate
from benchmarks.workloads.restore import Restore
from benchmarks.workloads.storm import Case, Storm
from benchmarks.workloads.streaming import Streaming

if TYPE_CHECKING:
    from benchmarks.workloads.workload import Workload

STORMS = [Case(2000), Case(2000, is_warm=True)]
OTHER_STORMS = [
    Case(2000, is_warm=True, is_live=True),
    Case(1000),
    Case(1000, is_live=True),
    Case(5000),
    Case(5000, is_live=True),
]


def workloads(*, is_short: bool) -> list[Workload]:
    """All of them; the short form has the storms that differ in kind, not those in size."""
    storms = [STORMS[0], OTHER_STORMS[0]] if is_short else STORMS
    other = [] if is_short else [Storm("storms", OTHER_STORMS, budget_s=0.0)]
    return [
        Fanout(),
        Rate(),
        Connects(),
        Storm("storm", storms, budget_s=70.0),
        *other,
        Idle(),
        Streaming(),
        Restore(),
    ]
