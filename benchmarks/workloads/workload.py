"""What every workload is to the runner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale

Numbers = dict[str, float]


class Workload(ABC):
    """A way to measure a system; `measure` is one round."""

    key: str  # on the command line
    budget_s: float  # of one entry, over all its rounds; it has one round at least
    uses_workers = False  # whether it is told what several cores bring

    def entries(self, one: Entry, scale: Scale) -> list[Entry]:
        """How a system takes part: not at all, once, or with and without authentication."""
        del scale
        return [one]

    @abstractmethod
    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """Start the system; yield the numbers of each case, or why there are none; stop it.

        Raises:
            MeasurementError: a case gave no number; those after it are not measured.
        """
