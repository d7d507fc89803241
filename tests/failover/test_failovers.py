"""Each event once and in order, or the client is told: one scenario of each sort, in short.

All of them, many times over: `make soak`, or `python -m tests.failover --help`.
"""

from __future__ import annotations

import pytest

from tests.failover.evidence import explained, keep
from tests.failover.plan import KINDS, plan_of
from tests.failover.scenario import Outcome, play


async def played(kind: str, seed: int, **choices: str) -> Outcome:
    """Play a scenario; fail if a promise was broken, and tell who lacks what."""
    outcome = await play(plan_of(seed, KINDS[kind], **choices))
    assert not outcome.is_broken, f"{explained(outcome)}\nkept in {keep(outcome)}"
    return outcome


@pytest.mark.timeout(180)
async def test_readers_of_what_a_lagging_replica_never_had_are_told():
    """The master dies five events ahead; another gateway writes on; each reader gets a snapshot."""
    outcome = await played("sentinel-lossy", 1, durability="memory", topology="sentinel")
    assert outcome.verdict.lost == 5
    readers = [name for name in outcome.verdict.tallies if name != "late"]
    assert all(outcome.verdict.tallies[name].snapshots >= 1 for name in readers)


@pytest.mark.timeout(180)
async def test_a_master_that_hangs_until_it_is_replaced_misleads_nobody():
    """It wakes and carries out what waited in its sockets: nobody goes by what it wrote.

    One gateway waits for it all the time; the other one writes to the new master meanwhile.
    """
    await played("sentinel-wakes", 1, durability="replicated", topology="sentinel")


@pytest.mark.timeout(180)
async def test_an_orderly_failover_gives_no_snapshot():
    """`CLUSTER FAILOVER` under load, there and back: readers lose nothing and are not reset."""
    outcome = await played("cluster-back", 1, durability="memory")
    assert outcome.verdict.lost == 0
    assert outcome.verdict.total("snapshots") == 0


@pytest.mark.timeout(180)
async def test_a_server_that_lost_the_end_of_its_file_misleads_nobody():
    """Redis comes back with a truncated append-only file: readers of what is gone are told."""
    await played("standalone-truncate", 1)
