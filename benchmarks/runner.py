"""Runs workloads on systems: round after round, each system in turn, so all share the weather."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.generator.errors import MeasurementError
from benchmarks.generator.room import FAULTS
from benchmarks.workloads.stage import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Numbers, Workload

GENERATOR_BUSY = 0.9  # of its core; one that used more may have been the limit
CORE_BUSY = 0.95  # the same, with Redis on the same core


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement, or why there is none."""

    workload: str
    case: str
    entry: str
    number: int
    numbers: Numbers = field(default_factory=dict)
    problem: str = ""

    limited_by: str = ""  # what else than the server may have been the limit

    @property
    def faults(self) -> int:
        """Messages lost, doubled or out of order."""
        return int(sum(self.numbers.get(name, 0) for name in FAULTS))


class Runner:
    """Collects rounds."""

    def __init__(self, scale: Scale) -> None:
        self.rounds: list[Round] = []
        self._scale = scale
        self._began = time.monotonic()

    def run(self, workload: Workload, entries: Sequence[Entry], *, rounds: int) -> None:
        """Measure, interleaved; who takes long gets fewer rounds, who fails gets no second."""
        left = {entry.name: min(rounds, entry.most_rounds) for entry in entries}
        for number in range(rounds):
            for entry in entries:
                if number >= left[entry.name] or (number and self._is_late):
                    continue
                began = time.monotonic()
                is_done = self._round(workload, entry, number)
                took_s = time.monotonic() - began
                if number == 0:
                    fit = int(workload.budget_s / took_s) if is_done else 1
                    left[entry.name] = max(1, min(left[entry.name], fit))

    def results(self) -> list[dict[str, object]]:
        """All rounds, for JSON."""
        return [asdict(one) for one in self.rounds]

    @property
    def _is_late(self) -> bool:
        return time.monotonic() - self._began > self._scale.more_rounds_s

    def _round(self, workload: Workload, entry: Entry, number: int) -> bool:
        case = "all"
        try:
            for case, found in workload.measure(entry, self._scale):
                numbers, problem = ({}, found) if isinstance(found, str) else (found, "")
                limit = limited_by(numbers)
                self._add(Round(workload.key, case, entry.name, number, numbers, problem, limit))
        except (MeasurementError, RuntimeError, OSError) as failure:
            problem = f"{type(failure).__name__}: {failure}"
            self._add(Round(workload.key, f"after {case}", entry.name, number, problem=problem))
            return False
        return True

    def _add(self, done: Round) -> None:
        self.rounds.append(done)
        told = " ".join(f"{name}={_short(value)}" for name, value in done.numbers.items())
        limited = f" (limited by {done.limited_by})" if done.limited_by else ""
        at = f"{time.monotonic() - self._began:6.0f} s"
        words = f"{at}  {done.entry}: {done.workload}, {done.case}: {told}{limited}{done.problem}"
        print(words, file=sys.stderr, flush=True)


def limited_by(numbers: Numbers) -> str:
    """What kept the server waiting, if its own core was not the limit."""
    if "generator_cpu" not in numbers or numbers["server_cpu"] > CORE_BUSY:
        return ""
    if numbers["generator_cpu"] > GENERATOR_BUSY:
        return "the generator"
    place = Placement.of_machine()
    shared = numbers["generator_cpu"] + numbers["redis_cpu"]
    return "Redis and the generator" if place.is_shared and shared > CORE_BUSY else ""


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004  # digits shown
