"""What a Redis server's settings put at risk: said once at the start, one line a risk."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import StoreError, StoreUnavailable
from gateway.store.calls import text
from gateway.store.keys import SHARDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis

RETRY_S = 1.0  # while Redis is away
_FACTS = ("tcp_port", "run_id", "maxmemory_policy", "aof_enabled")
_log = structlog.get_logger(__name__)


async def tell_risks(redis: Redis, keys: Keys, *, route: Callable[[str], str]) -> None:
    """Look at every server that takes writes, once it answers, and log what is at risk there.

    Asks with INFO, which a user of the gateway's needs anyway (docs/operations.md, Data in Redis).

    Args:
        redis: whose servers.
        keys: names the shards.
        route: tells which keys are on one server, as far as is known.
    """
    shards = map(keys.of_shard, range(SHARDS))
    seen: set[str | None] = set()
    for key in {route(key): key for key in shards}.values():
        facts = await _facts_of(redis, key)
        if facts.get("run_id") not in seen:
            seen.add(facts.get("run_id"))
            _tell(facts)


async def _facts_of(redis: Redis, key: str) -> dict[str, str]:
    while True:
        try:
            found = text(await redis.execute(key, "INFO", "server", "memory", "persistence"))
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S)
        except StoreError as exc:
            _log.warning("redis_settings_unreadable", problem=str(exc))
            return {}
        else:
            pairs = (line.partition(":") for line in found.splitlines())
            return {name: value for name, _, value in pairs if name in _FACTS}


def _tell(facts: dict[str, str]) -> None:
    port = facts.get("tcp_port")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        problem = "when memory runs out it drops data: CONFIG SET maxmemory-policy noeviction"
        _log.warning("redis_evicts", port=port, policy=policy, problem=problem)
    if facts.get("aof_enabled") == "0":
        problem = "a restart of it loses what was acknowledged: CONFIG SET appendonly yes"
        _log.warning("redis_without_aof", port=port, problem=problem)
