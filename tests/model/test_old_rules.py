"""The model finds, in the rules before reigns, each fault that was seen at real servers."""

from tests.model import rules, scenarios
from tests.model.search import Search
from tests.model.trace import lines


def trace(scenario):
    """The shortest trace to a fault of the old rules."""
    found = Search(rules.OLD, scenario.start()).run()
    text = "\n".join(lines(found))
    assert found.fault is not None, f"nothing found in {found.states} states"
    return text


def test_master_that_wakes_publishes_under_a_name_of_its_successor():
    """A call that lay in a hung master's socket takes the place of an acknowledged message."""
    text = trace(scenarios.WOKEN)

    for step in (
        "gateway 0 sends b to A, which does not read it yet",
        "B is promoted",
        "gateway 0 sends c to B: appended and published as A1.1:2",
        "A wakes",
        "A reads b of gateway 0: appended and published as A1.1:2",
        "gateway 0 hears b as A1.1:2 from A",
        "client 0 silently holds ab, the history is ac",
    ):
        assert step in text


def test_minority_of_a_split_keeps_what_only_its_master_had():
    """What was published before WAIT had its answer stays with the clients of that side."""
    text = trace(scenarios.SPLIT)

    for step in (
        "gateway 0 hears b as A1.1:2 from A",
        "B is promoted",
        "gateway 1 sends c to B: appended and published as A1.1:2",
        "client 0 silently holds ab, the history is ac",
    ):
        assert step in text


def test_gateway_that_heard_nothing_writes_as_many_as_were_lost():
    """After a failover with loss a writer elsewhere gives the lost offsets to other messages."""
    text = trace(scenarios.KILLED)

    for step in (
        "gateway 1 hears b as A1.1:2 from A",
        "A is killed",
        "B is promoted",
        "gateway 0 sends c to B: appended and published as A1.1:2",
        "client 0 silently holds ab, the history is ac",
    ):
        assert step in text
