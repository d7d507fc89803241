"""All that can happen in a state of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import reading, servers, traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.rules import Rules
    from tests.model.state import World


def steps(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """Each step that is possible: what to call it (text and its arguments), the world after it."""
    yield from traffic.sends(rules, world)
    yield from traffic.arrivals(rules, world)
    yield from traffic.hearings(rules, world)
    yield from reading.reads(rules, world)
    yield from reading.comparisons(rules, world)
    yield from reading.moves(world)
    yield from servers.steps(rules, world)
