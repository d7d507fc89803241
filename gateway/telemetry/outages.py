"""What is away, and why: logged once for each cause, not at each try and for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class Outages:
    """The places that did not answer when they were asked last. Bounded by their number."""

    __slots__ = ("_problems",)

    def __init__(self) -> None:
        self._problems: dict[Hashable, str] = {}

    def begin(self, place: Hashable, problem: str) -> bool:
        """A place does not answer; returns whether that cause is news, which is to be logged."""
        is_new = problem not in self._problems.values()
        self._problems[place] = problem
        return is_new

    def end(self, place: Hashable) -> None:
        """A place has answered."""
        if self._problems:
            self._problems.pop(place, None)
