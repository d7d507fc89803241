"""What a file of results says: medians over rounds, or why there is no number."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from benchmarks.generator.room import FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report.rows import Row

OWN = "gateway"
AUTHENTICATED = ", authenticated"
STOLEN_MUCH = 0.15  # of a core; rounds in which more was stolen do not count
ENOUGH = 3  # rounds count at least, as far as there are so many: those with the least stolen
Round = dict[str, Any]  # a case of one entry, measured once
Results = dict[str, Any]  # as it stands in the file


def stolen(one: Round) -> float:
    """How much of a core the host gave to others meanwhile; 0.0 if that was not measured."""
    return float(one["numbers"].get("stolen_cpu", 0.0))


def counted(rounds: Sequence[Round]) -> Sequence[Round]:
    """Those of a case's rounds of one entry that its median is of: the least disturbed."""
    undisturbed = [one for one in rounds if stolen(one) <= STOLEN_MUCH]
    return undisturbed if len(undisturbed) >= ENOUGH else sorted(rounds, key=stolen)[:ENOUGH]


class Medians:
    """Looks numbers up."""

    def __init__(self, results: Results) -> None:
        self._found: defaultdict[tuple[str, str, str], list[Round]] = defaultdict(list)
        self._problems: dict[tuple[str, str, str], str] = {}
        self.entries: list[str] = []
        for one in results["rounds"]:
            place = (one["workload"], one["case"], one["entry"])
            if one["entry"] not in self.entries:
                self.entries.append(one["entry"])
            if one["problem"]:
                self._problems[place] = one["problem"]
            else:
                self._found[place].append(one)
        self._counted = {place: counted(rounds) for place, rounds in self._found.items()}

    def of(self, row: Row, entry: str) -> float | None:
        """The median of an entry; None if there is no number."""
        rounds = self._counted.get((row.workload, row.case, entry))
        return statistics.median(one["numbers"][row.metric] for one in rounds) if rounds else None

    def left_out(self, workload: str, entry: str) -> tuple[int, int]:
        """How many rounds of its cases do not count, as too much was stolen; and of how many."""
        places = [place for place in self._found if (place[0], place[2]) == (workload, entry)]
        measured = sum(len(self._found[place]) for place in places)
        return measured - sum(len(self._counted[place]) for place in places), measured

    def faults(self, row: Row, entry: str) -> int:
        """Messages lost, doubled or out of order, over all rounds."""
        rounds = self._found.get((row.workload, row.case, entry), ())
        return int(sum(one["numbers"].get(f, 0) for one in rounds for f in FAULTS))

    def is_limited(self, row: Row, entry: str) -> bool:
        """Whether something else than the server may have been the limit in most rounds."""
        rounds = self._counted.get((row.workload, row.case, entry), ())
        return sum(bool(one.get("limited_by")) for one in rounds) * 2 > len(rounds)

    def problem(self, row: Row, entry: str) -> str | None:
        """Why there is no number, if it was tried."""
        return self._problems.get((row.workload, row.case, entry))

    def best_peer(self, row: Row) -> tuple[str, float] | None:
        """The peer that the gateway is compared with, and its number."""
        candidates = row.against or [
            name
            for name in self.entries
            if not name.startswith(OWN) and name.endswith(AUTHENTICATED) == row.is_authenticated
        ]
        found = [(name, value) for name in candidates if (value := self.of(row, name)) is not None]
        if not found:
            return None
        return (max if row.more_is_better else min)(found, key=lambda pair: pair[1])

    def ratio(self, row: Row) -> float | None:
        """The gateway's number over the compared peer's."""
        own, best = self.of(row, OWN), self.best_peer(row)
        return own / best[1] if own is not None and best is not None and best[1] else None

    def is_met(self, row: Row) -> bool | None:
        """Whether the target is reached; None if there is none, or nothing to compare."""
        ratio = self.ratio(row)
        if row.target is None or ratio is None:
            return None
        return ratio >= row.target if row.more_is_better else ratio <= row.target
