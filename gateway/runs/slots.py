"""A worker's slots, and who may have the next one; no I/O, no clock.

A run is not interrupted for another, so slots that are taken stay taken for as long as runs take.
Hence some are always kept free for who comes next: a subject, and a tenant, may take one more only
while it has fewer than there are free ones, times a factor. One that is alone gets its share of all
slots; the more there are, the less each gets, and the less stays free: n of them, who all want
more, leave 1 / (1 + n * factor). (Dynamic thresholds, Choudhury and Hahne 1998, of switch memory.)
The last free slot goes to somebody who has none.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gateway.store.run_lines import Line

FEW = 4  # of fewer slots the last one is for anybody: keeping it would cost too much
_ROUNDING = 1e-9  # of factors: 0.9 / (1 - 0.9) is more than 9
REMEMBERED = 4096  # who had a turn, the latest; who is forgotten comes first once more
Who: TypeAlias = "str | Line"


class Slots:
    """The slots of one worker, and who has them."""

    def __init__(self, count: int, *, subject_share: float, tenant_share: float) -> None:
        """Begin with all of them free.

        Args:
            count: how many.
            subject_share: how much of them one subject gets that is alone, of 1.
            tenant_share: how much one tenant gets.
        """
        self.free = count
        self._kept = 1 if count >= FEW else 0
        self._subject_factor = _factor(subject_share)
        self._tenant_factor = _factor(tenant_share)
        self._taken: Counter[Who] = Counter()
        self._turns: dict[Who, int] = {}  # when each had the last one, the latest last
        self._turn = 0

    def may_take(self, line: Line) -> bool:
        """Whether there is one for a run of this line."""
        return self._has_room(line.tenant) and self._has_room(line)

    def take(self, line: Line) -> None:
        """Use one for a run of this line."""
        self.free -= 1
        self._turn += 1
        for who in (line.tenant, line):
            self._taken[who] += 1
            self._turns.pop(who, None)
            self._turns[who] = self._turn
        while len(self._turns) > REMEMBERED:
            del self._turns[next(iter(self._turns))]

    def give(self, line: Line) -> None:
        """Free one that `take` used."""
        self.free += 1
        for who in (line.tenant, line):
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]

    def full(self) -> list[str]:
        """Who may take no more, as `RunLines` takes it."""
        found = [who for who in self._taken if not self._has_room(who)]
        return [who if isinstance(who, str) else ":".join(who) for who in found]

    def rank(self, line: Line) -> tuple[int, int, int, int]:
        """Who comes first: the tenant with fewest slots, then who has waited longest for a turn.

        Of one tenant's subjects so, too.
        """
        tenant = line.tenant
        turn = self._turns.get
        return self._taken[tenant], turn(tenant, 0), self._taken[line], turn(line, 0)

    def _has_room(self, who: Who) -> bool:
        factor = self._tenant_factor if isinstance(who, str) else self._subject_factor
        taken = self._taken[who]
        if factor == math.inf or not taken:
            return self.free > 0
        return self.free > self._kept and taken < factor * self.free - _ROUNDING


def _factor(share: float) -> float:
    """Of the free slots, so that one who is alone gets the share of all."""
    return math.inf if share == 1 else share / (1 - share)
