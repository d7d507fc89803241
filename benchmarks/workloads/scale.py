"""How much of everything: for numbers to publish, for a quick look, or to see that it works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.generator.load import Shape


@dataclass(frozen=True, slots=True)
class Scale:
    """Times in s, counts of connections.

    Attributes:
        share: of a full workload's rooms and receivers.
        rounds: of the short workloads, at least; the median is told.
    """

    rounds: int
    share: float
    warm_up_s: float
    fanout_s: float

    def count(self, full: int, *, least: int = 2) -> int:
        """So many instead of `full`."""
        return max(least, round(full * self.share)) if self.share < 1 else full

    def shape(self, full: Shape) -> Shape:
        """A smaller shape of the same kind."""
        if self.share >= 1:
            return full
        receivers = self.count(full.receivers)
        return replace(
            full,
            rooms=self.count(full.rooms, least=1),
            receivers=receivers,
            publishers=min(full.publishers, receivers),
        )


FULL = Scale(rounds=5, share=1.0, warm_up_s=0.4, fanout_s=1.5)
QUICK = Scale(rounds=1, share=1.0, warm_up_s=0.3, fanout_s=1.0)
SMOKE = Scale(rounds=1, share=0.02, warm_up_s=0.05, fanout_s=0.1)
