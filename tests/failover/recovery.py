"""How long a fault kept clients from publishing."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def recoveries(accepted_at: Sequence[Sequence[float]], struck_at: Sequence[float]) -> list[float]:
    """Return, for each fault and member, the longest time without an accepted message.

    Args:
        accepted_at: by member, when each of its messages was accepted.
        struck_at: when each fault began. It counts until the next one.
    """
    ends = [*struck_at[1:], float("inf")]
    longest = []
    for begin, end in zip(struck_at, ends, strict=True):
        for times in accepted_at:
            pauses = [
                after - before
                for before, after in pairwise(times)
                if begin < after and before < end
            ]
            if pauses:
                longest.append(max(pauses))
    return longest
