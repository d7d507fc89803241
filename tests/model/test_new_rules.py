"""The rules that hold: nothing is found, in any order of what the bounds of a scenario allow."""

import pytest

from tests.model import rules, scenarios
from tests.model.search import Search
from tests.model.trace import lines


def search(scenario, *, is_large):
    """Search to the end; what is found is told as a trace."""
    found = Search(rules.NEW, scenario.start(is_large=is_large), checks_names=True).run()
    assert found.fault is None, "\n".join(lines(found))
    return found.states


@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda scenario: scenario.name)
def test_every_client_is_given_the_surviving_history(scenario, record_property):
    """Each event once and in order or a snapshot; no snapshot where nothing was lost."""
    record_property("states", search(scenario, is_large=False))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", scenarios.ALL, ids=lambda scenario: scenario.name)
def test_larger_bounds_are_as_right(scenario, record_property):
    """The same with more calls, slow answers, late calls."""
    record_property("states", search(scenario, is_large=True))
