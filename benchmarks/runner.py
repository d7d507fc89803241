"""Runs workloads on systems: round after round, system after system, so that all share the weather."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.generator.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.systems.base import System
    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Numbers, Workload


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement, or why there is none."""

    workload: str
    case: str
    entry: str
    number: int
    numbers: Numbers
    problem: str = ""


class Runner:
    """Collects rounds."""

    def __init__(self, scale: Scale) -> None:
        self.rounds: list[Round] = []
        self._scale = scale
        self._began = time.monotonic()

    def run(self, workload: Workload, entries: Sequence[Entry], *, rounds: int) -> None:
        """Measure so many rounds, interleaved; whoever fails at its first is left out then."""
        failed: set[str] = set()
        for number in range(rounds):
            for entry in entries:
                if entry.name not in failed and not self._round(workload, entry, number):
                    failed.add(entry.name)

    def _round(self, workload: Workload, entry: Entry, number: int) -> bool:
        case = ""
        try:
            for case, numbers in workload.measure(entry, self._scale):  # noqa: B007  # told below
                self._add(Round(workload.key, case, entry.name, number, numbers))
        except (MeasurementError, RuntimeError, OSError) as problem:
            self._add(Round(workload.key, f"after: {case}", entry.name, number, {}, str(problem)))
            return False
        return True

    def _add(self, done: Round) -> None:
        self.rounds.append(done)
        told = " ".join(f"{name}={_short(value)}" for name, value in done.numbers.items())
        passed_s = time.monotonic() - self._began
        print(
            f"{passed_s:6.0f} s  {done.entry}: {done.workload}, {done.case}: {told}{done.problem}",
            file=sys.stderr,
            flush=True,
        )

    def results(self) -> list[dict[str, object]]:
        """All rounds, for JSON."""
        return [asdict(one) for one in self.rounds]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004  # digits shown


def available(systems: Sequence[System]) -> tuple[list[System], dict[str, str]]:
    """Those that can run, and why the others cannot."""
    missing = {one.name: why for one in systems if (why := one.why_unavailable()) is not None}
    return [one for one in systems if one.name not in missing], missing
