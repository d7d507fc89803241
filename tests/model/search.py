"""The search: breadth first through every state, so that the first fault has a shortest trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.model.settling import calm, check_names, settle
from tests.model.state import Broken
from tests.model.world import steps

if TYPE_CHECKING:
    from tests.model.rules import Rules
    from tests.model.state import World

Step = tuple[tuple, "World | None"]


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    states: int  # that were seen
    fault: str | None = None  # the promise that is broken; None if none is in any state
    trace: tuple[Step, ...] = ()  # the way there: the first state has no name
    epilogue: tuple[str, ...] = ()  # what happened after it, when all came to rest


class Search:
    """One search of one world.

    Args:
        start: the first state.
        checks_names: also see that an epoch and an offset name one event, in every state.
        most: states after which to give up, which is an error: the bound is not exhausted.
    """

    def __init__(
        self, rules: Rules, start: World, *, checks_names: bool = False, most: int = 20_000_000
    ) -> None:
        self._rules = rules
        self._start = start
        self._checks_names = checks_names
        self._most = most
        self._from: dict[World, tuple[World, tuple] | None] = {start: None}
        self._calm: set[World] = set()

    def run(self) -> Found:
        """Search until something is broken, or everything was seen.

        Raises:
            RuntimeError: there are more states than it may see.
        """
        front = [self._start]
        while front:
            beyond: list[World] = []
            for world in front:
                found = self._see(world, beyond)
                if found is not None:
                    return found
            if len(self._from) > self._most:
                raise RuntimeError(f"more than {self._most} states")
            front = beyond
        return Found(len(self._from))

    def _see(self, world: World, beyond: list[World]) -> Found | None:
        for what, after in steps(self._rules, world):
            if type(after) is Broken:
                return self._found(str(after), [*self._way_to(world), (what, None)])
            if after in self._from:
                continue
            self._from[after] = (world, what)
            beyond.append(after)
            found = self._rest(after)
            if found is not None:
                return found
        return None

    def _rest(self, world: World) -> Found | None:
        """See what comes of a state if nothing more goes wrong."""
        told: list[str] = []
        try:
            if self._checks_names:
                check_names(world)
            still = calm(world)
            if still is None or still in self._calm:
                return None
            self._calm.add(still)
            settle(self._rules, still, told.append)
        except Broken as broken:
            return self._found(str(broken), self._way_to(world), told)
        return None

    def _found(self, fault: str, way: list[Step], told: list[str] | None = None) -> Found:
        return Found(len(self._from), fault, tuple(way), tuple(told or ()))

    def _way_to(self, world: World) -> list[Step]:
        way: list[Step] = []
        while (last := self._from[world]) is not None:
            way.append((last[1], world))
            world = last[0]
        return [((), world), *reversed(way)]
