"""Looks after runs that nobody works on: tells their readers, ends those that nobody will take.

Gateways and workers do so alike, since either may be all that is left. What they do twice changes
nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import GatewayError, StoreUnavailable
from gateway.store.keys import SHARDS
from gateway.store.unserved import Unserved, shard_of_run
from gateway.tasks import together
from gateway.telemetry.outages import Outages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from gateway.clock import Clock
    from gateway.settings import Settings
    from gateway.store.run_names import RunName
    from gateway.store.store import Store

LOOKS_A_LEASE = 5
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 3.0
_log = structlog.get_logger(__name__)


class RunWatch:
    """Looks at all shards, five times a lease; `run` until cancelled."""

    def __init__(self, store: Store, settings: Settings, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._claim_s = settings.run_claim_s
        pause_s = settings.run_lease_s / LOOKS_A_LEASE
        self._pause_s = min(max(pause_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)
        self._outages = Outages()
        self._since_s: dict[RunName, float] = {}  # since when no worker that we know has the agent

    async def run(self) -> None:
        """Watch until cancelled. What we saw before Redis was away does not count against a run."""
        while True:
            await asyncio.sleep(self._pause_s)
            try:
                await self._look()
            except GatewayError as exc:
                _log.warning("run_watch_failed", problem=str(exc))
                self._since_s.clear()

    async def _look(self) -> None:
        unserved = self._store.unserved
        agents = await unserved.vouch()
        found = await together(self._look_at(shard, agents) for shard in range(SHARDS))
        for name in [name for one in found for name in one.silent]:
            await _attended(name, unserved.tell_interrupted(name, noticed_s=self._pause_s))
        without = {name: agent for one in found for name, agent in one.without_agent}
        for name, agent in without.items():
            await _attended(name, self._wait(name, agent, agents))
        await self._forget(self._since_s.keys() - without.keys())

    async def _look_at(self, shard: int, agents: frozenset[str]) -> Unserved:
        """Look at one shard; if its server is away, nothing is known of its runs any more."""
        try:
            found = await self._store.unserved.look(shard, agents)
        except StoreUnavailable as exc:
            if self._outages.begin(shard, str(exc)):
                _log.warning("run_watch_failed", shard=shard, problem=str(exc))
            for name in [name for name in self._since_s if shard_of_run(name) == shard]:
                del self._since_s[name]
            return Unserved([], [])
        self._outages.end(shard)
        return found

    async def _wait(self, name: RunName, agent: str, agents: frozenset[str]) -> None:
        """Go on waiting for a worker that has the agent, or end the run."""
        now_s, unserved = self._clock.monotonic_s(), self._store.unserved
        since_s = self._since_s.setdefault(name, now_s)
        if now_s - since_s >= self._claim_s:
            if await unserved.give_up(name, agent, is_any_worker=bool(agents)):
                _log.error("run_without_agent_ended", run_id=name.run_id, agent=agent)
        elif await unserved.note(name, "agent"):
            _log.warning(
                "run_without_agent", run_id=name.run_id, agent=agent, limit_s=self._claim_s
            )

    async def _forget(self, names: Iterable[RunName]) -> None:
        """A worker has come, or they have ended."""
        for name in names:
            del self._since_s[name]
            await _attended(name, self._store.unserved.note(name, "worker"))


async def _attended(name: RunName, work: Awaitable[object]) -> None:
    """Wait for what is done about a run. If only that fails, the others get their turn."""
    try:
        await work
    except StoreUnavailable:
        raise
    except GatewayError:
        _log.exception("run_check_failed", run_id=name.run_id)
