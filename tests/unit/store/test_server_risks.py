"""What a server's settings put at risk is said at start: a line for each, and none for none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from gateway.runs.worker import working
from gateway.settings import load_settings
from gateway.store.store import Store
from tests.support.eventually import eventually
from tests.support.redis_servers import cluster
from tests.support.stores import opened

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis

RISKS = {
    "redis_evicts": {"maxmemory-policy": "allkeys-lru"},
    "redis_without_aof": {"appendonly": "no"},
}


@pytest.mark.parametrize("event", RISKS)
async def test_each_risk_is_said_when_a_gateway_starts(
    in_process: InProcess, own_redis: OwnRedis, event: str
) -> None:
    """One warning, that names it and what to do."""
    redis = await own_redis(**RISKS[event])
    with structlog.testing.capture_logs() as logs:
        await in_process(redis_url=redis.url)
        await eventually(lambda: logs, what="it is said")
    (line,) = [line for line in logs if line["event"].startswith("redis_")]
    assert (line["event"], line["log_level"]) == (event, "warning")
    assert line["port"] == str(redis.port)
    assert "CONFIG SET" in line["problem"]


async def test_a_worker_says_it_too_also_of_a_server_that_is_away_at_its_start(
    own_redis: OwnRedis,
) -> None:
    """As soon as it answers."""
    redis = await own_redis(**RISKS["redis_evicts"])
    redis.kill()
    settings = load_settings({}, redis_url=redis.url, redis_reconnect_s=0.1)
    with structlog.testing.capture_logs() as logs:
        async with working(settings):
            await redis.start()
            await eventually(
                lambda: any(line["event"] == "redis_evicts" for line in logs), what="it is said"
            )


async def test_nothing_is_said_of_a_server_that_keeps_everything(own_redis: OwnRedis) -> None:
    """And the embedded server is such a one."""
    redis = await own_redis()
    with structlog.testing.capture_logs() as logs:
        async with opened(redis.url) as store:
            await store.tell_risks()
    assert not logs


async def test_every_server_of_a_cluster_is_looked_at() -> None:
    """Once each."""
    async with cluster(options={"maxmemory-policy": "volatile-ttl"}) as group:
        with structlog.testing.capture_logs() as logs:
            async with opened(group.url) as store:
                assert isinstance(store, Store)
                await store.tell_risks()
        masters = {str(node.port) for node in group.nodes[:3]}
    assert {line["port"] for line in logs} == masters
    assert len(logs) == len(masters)
