"""How much of everything: for numbers to publish, for a quick look, or to see that it works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.generator.load import Shape
    from benchmarks.systems.base import System


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Times in s, counts of connections.

    Attributes:
        rounds: of a workload, at most; the median is told.
        share: of a full workload's rooms, receivers, clients and rates.
        has_variants: whether peers run with and without authentication.
        settle_s: after which idle connections have cost what they cost.
        patience_s: how long a storm may take.
        rest_s: how long the rest of a storm's live traffic is waited for.
        behind_s: how far a system may be behind a fixed rate at any time.
        kept: how much of a fixed rate must be acknowledged in time, of 1.
        more_rounds_s: how long a run may have taken when a round that is not the first begins.
    """

    rounds: int
    share: float = 1.0
    has_variants: bool = True
    warm_up_s: float = 0.3
    fanout_s: float = 1.0
    rate_s: float = 1.5
    stream_s: float = 2.0
    restores: int = 50
    settle_s: float = 1.0
    patience_s: float = 20.0
    rest_s: float = 5.0
    behind_s: float = 2.0
    kept: float = 0.8
    more_rounds_s: float = 840.0

    def rate(self, full: float) -> float:
        """So many a second instead of `full`."""
        return full * min(1.0, self.share)

    def count(self, full: int, *, least: int = 2) -> int:
        """So many instead of `full`."""
        return max(least, round(full * self.share)) if self.share < 1 else full

    def warm_up_of(self, system: System | None) -> float:
        """How long to load a system before it is measured; None: one that is warm."""
        needed_s = system.warm_up_s if system is not None and self.share >= 1 else 0.0
        return max(self.warm_up_s, needed_s)

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


FULL = Scale(rounds=5)
QUICK = Scale(rounds=1)
SMOKE = Scale(
    rounds=1,
    share=0.02,
    has_variants=False,
    warm_up_s=0.05,
    fanout_s=0.1,
    rate_s=0.2,
    stream_s=0.2,
    restores=2,
    settle_s=0.1,
    patience_s=30.0,
    rest_s=30.0,
    behind_s=30.0,
    kept=0.0,  # it is seen whether it works, on a machine as busy as may be
)
SCALES = {"full": FULL, "quick": QUICK, "smoke": SMOKE}
