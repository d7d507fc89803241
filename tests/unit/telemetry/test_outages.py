"""Which outages are news."""

from __future__ import annotations

from gateway.telemetry.outages import Outages


def test_a_cause_is_news_once_for_all_places() -> None:
    """Sixty-four shards of a server that is away are one outage, at every try."""
    outages = Outages()
    assert [outages.begin(shard, "away") for shard in (1, 2, 1)] == [True, False, False]
    assert outages.begin(2, "no Redis")


def test_a_cause_is_news_again_when_all_its_places_have_answered() -> None:
    """It is another outage then; while one of them is away it is the same."""
    outages = Outages()
    outages.begin(1, "away")
    outages.begin(2, "away")
    outages.end(1)
    assert not outages.begin(1, "away")
    outages.end(1)
    outages.end(2)
    assert outages.begin(1, "away")
