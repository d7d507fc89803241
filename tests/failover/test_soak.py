"""Failovers of every kind, many times: more than 40 seeded faults, for minutes."""

from __future__ import annotations

import pytest

from tests.failover.evidence import explained, keep
from tests.failover.plan import KINDS, plan_of
from tests.failover.scenario import play
from tests.support.network_namespace import NamespaceUnavailable

RUNS = 2
CAMPAIGN_RUNS = 4
SEEDS = [
    (name, seed)
    for name, kind in KINDS.items()
    for seed in range(1, 1 + (CAMPAIGN_RUNS if kind.is_campaign else RUNS))
]


def test_there_are_enough_faults():
    """The seeds stand for at least 40 faults, over three topologies and both durabilities."""
    plans = [plan_of(seed, KINDS[name]) for name, seed in SEEDS]
    assert sum(len(plan.faults) for plan in plans) >= 40
    assert {plan.topology for plan in plans} >= {"sentinel", "sentinel-2", "cluster", "standalone"}
    assert {plan.durability for plan in plans} == {"memory", "replicated"}


def test_a_seed_says_everything():
    """The same seed gives the same scenario."""
    assert [plan_of(seed, KINDS[name]) for name, seed in SEEDS] == [
        plan_of(seed, KINDS[name]) for name, seed in SEEDS
    ]


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "seed"), SEEDS)
async def test_each_event_once_and_in_order_or_told(name: str, seed: int) -> None:
    """Each client's state is what survived; who lost nothing gets no snapshot."""
    plan = plan_of(seed, KINDS[name])
    try:
        outcome = await play(plan)
    except NamespaceUnavailable as exc:
        pytest.skip(str(exc))
    assert not outcome.is_broken, f"{explained(outcome)}\nkept in {keep(outcome)}"
    if plan.kind.is_orderly:
        assert outcome.verdict.total("snapshots") == 0
