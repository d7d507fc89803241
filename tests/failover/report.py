"""A table of many scenarios, by kind, durability and number of replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from tests.failover.checker import SILENT

if TYPE_CHECKING:
    from tests.failover.scenario import Outcome

HEAD = (
    "kind",
    "durability",
    "servers",
    "runs",
    "faults",
    "acknowledged",
    "silent misses",
    "other faults",
    "lost",
    "snapshots",
    "needless",
    "epoch changes",
    "sessions not resumed",
    "internal",
    "publish again p50 s",
    "max s",
)


@dataclass
class Row:
    """Sums of the scenarios of one kind.

    Attributes:
        silent: clients that lacked something, or kept a ghost, and were not told.
        others: further faults: an accepted message gone, a repeat, a rename at the wrong place.
        sessions: that could not be resumed.
        internal: replies `error` with this code.
        recovered_s: how long each client could not publish, for each fault.
    """

    runs: int = 0
    faults: int = 0
    acknowledged: int = 0
    silent: int = 0
    others: int = 0
    lost: int = 0
    snapshots: int = 0
    needless: int = 0
    epoch_changes: int = 0
    sessions: int = 0
    internal: int = 0
    recovered_s: list[float] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Add a scenario."""
        verdict = outcome.verdict
        self.runs += 1
        self.faults += len(outcome.plan.faults)
        self.acknowledged += outcome.accepted
        self.silent += len(verdict.misled)
        self.others += len(outcome.faults) - sum(f.kind in SILENT for f in verdict.faults)
        self.lost += verdict.lost
        self.snapshots += verdict.total("snapshots")
        self.needless += verdict.total("needless")
        self.epoch_changes += verdict.total("epoch_changes")
        self.sessions += outcome.losses.total()
        self.internal += outcome.errors["internal"] + outcome.errors["connect internal"]
        self.recovered_s += outcome.recovered_s

    @property
    def cells(self) -> list[str]:
        """As they stand in the table, after kind, durability and servers."""
        counts = (self.runs, self.faults, self.acknowledged, self.silent, self.others, self.lost)
        more = (self.snapshots, self.needless, self.epoch_changes, self.sessions, self.internal)
        times = self.recovered_s or [0.0]
        return [*map(str, counts + more), f"{median(times):.1f}", f"{max(times):.1f}"]


class Report:
    """Rows in the order in which their first scenario came."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], Row] = {}

    def add(self, outcome: Outcome) -> None:
        """Add a scenario to its row."""
        plan = outcome.plan
        key = (plan.kind.name, plan.durability, plan.topology)
        self.rows.setdefault(key, Row()).add(outcome)

    def __str__(self) -> str:
        lines = [HEAD, ["---"] * len(HEAD)]
        lines += [[*key, *row.cells] for key, row in self.rows.items()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
