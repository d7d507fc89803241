"""The model is a test of the rules only if it finds what is wrong with each mutation of them."""

import pytest

from tests.model import rules, scenarios
from tests.model.search import Search
from tests.model.trace import lines

SILENT, GONE, NEEDLESS = "silently holds", "was acknowledged and is gone", "though nothing was lost"
FOUND = {
    "packed_once": (scenarios.HANGS, SILENT),
    "no_second_look": (scenarios.FAILBACK, SILENT),
    "end_too_low": (scenarios.PLANNED, NEEDLESS),
    "end_too_high": (scenarios.RESTARTS, "reads for ever"),
    "fork_unrecorded": (scenarios.PLANNED, NEEDLESS),
    "named_by_count": (scenarios.FAILBACK, SILENT),
    "by_offset_only": (scenarios.RESTARTS, "reads for ever"),
    "not_rejudged": (scenarios.HANGS, "was given c twice"),
    "compares_offsets": (scenarios.SPLIT, SILENT),
    "ignores_less": (scenarios.KILLED, SILENT),
    "asks_after": (scenarios.PLANNED, NEEDLESS),
    "counts_topic_only": (scenarios.KILLED, SILENT),
    "tells_nobody": (scenarios.KILLED, SILENT),
    "reads_at_replica": (scenarios.PLANNED, NEEDLESS),
    "not_idempotent": (scenarios.HANGS, "was given b twice"),
    "answers_early": (scenarios.KILLED, GONE),
    "known_not_written": (scenarios.HANGS, GONE),
}


@pytest.mark.parametrize("name", [mutation.name for mutation in rules.MUTATIONS])
def test_mutation_is_found(name):
    """A rule that is left out or off by one harms a client, and the trace shows how."""
    scenario, fault = FOUND[name]

    found = Search(rules.BY_NAME[name], scenario.start()).run()

    assert found.fault is not None, f"nothing found in {found.states} states"
    assert fault in found.fault, "\n".join(lines(found))
