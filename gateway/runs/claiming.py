"""Which run a worker takes next: fairly over all shards, and no shard waits for another.

A worker knows whose runs wait in each shard: it looks at those of which there is news, and every
claim tells it anew. What is next is chosen among all of them, so it does not matter how many runs
somebody has in how many shards. A shard has one call at a time; one that does not answer, since its
server is away, keeps nobody but its own runs waiting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import GatewayError
from gateway.store.keys import SHARDS
from gateway.telemetry.outages import Outages

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.runs.slots import Slots
    from gateway.store.run_lines import Claim, Found, Line, RunLines

PATIENCE_S = 0.2  # for shards that were asked whose runs wait, before the next one is chosen
_log = structlog.get_logger(__name__)


class Claiming:
    """Claims runs while there are free slots; `run` until cancelled.

    Args:
        lines: of all shards.
        agents: those that the worker has.
        slots: what runs are executed in.
        execute: executes a claimed run; its slot is free again when it returns.
    """

    def __init__(
        self,
        lines: RunLines,
        agents: Sequence[str],
        slots: Slots,
        execute: Callable[[Claim], Awaitable[None]],
    ) -> None:
        self._lines = lines
        self._agents = agents
        self._slots = slots
        self._execute = execute
        self._news: set[int] = set()  # shards to look at
        self._asked: set[int] = set()  # with a call under way
        self._waiting: dict[int, list[Line]] = {}  # whose runs wait, as far as known
        self._more: set[int] = set()  # shards that have others, too
        self._outages = Outages()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def look_at(self, shard: int) -> None:
        """There is news of a shard: a run became ready, or a lease may have ended."""
        self._news.add(shard)
        self._wake.set()

    def look_everywhere(self) -> None:
        """Nothing is known for certain."""
        for shard in range(SHARDS):
            self.look_at(shard)

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Claim for ever; what is claimed is executed in the group."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._slots.free and await self._look(group) | self._claim_next(group):
                pass

    async def _look(self, group: asyncio.TaskGroup) -> bool:
        """Ask the shards of which there is news; wait a moment for those that answer."""
        asked = self._news - self._asked
        if not asked:
            return False
        self._news -= asked
        self._asked |= asked
        looks = [group.create_task(self._ask(shard), name=f"look {shard}") for shard in asked]
        await asyncio.wait(looks, timeout=PATIENCE_S)
        return True

    def _claim_next(self, group: asyncio.TaskGroup) -> bool:
        """Begin to claim the run that is next; False if there is none, or no slot for it."""
        rank, may_take = self._slots.rank, self._slots.may_take
        here = [
            (rank(line), place, shard, line)
            for shard, lines in self._waiting.items()
            if shard not in self._asked
            for place, line in enumerate(lines)
            if may_take(line)
        ]
        if not here:
            return False
        _, _, shard, line = min(here)
        self._asked.add(shard)
        self._slots.take(line)
        group.create_task(self._claim(shard, line), name=f"claim {shard}")
        return True

    async def _ask(self, shard: int) -> None:
        await self._learn(shard, self._lines.look(shard, self._agents, full=self._slots.full()))

    async def _claim(self, shard: int, line: Line) -> None:
        try:
            full = self._slots.full()
            claim = await self._learn(
                shard, self._lines.claim(shard, self._agents, line, full=full)
            )
            if claim is not None:
                await self._execute(claim)
        finally:
            self._slots.give(line)
            self._news |= self._more  # who was full may have room now
            self._wake.set()

    async def _learn(self, shard: int, call: Awaitable[Found]) -> Claim | None:
        """Wait for what a shard tells, and remember it; if it does not, nothing is known of it."""
        self._waiting.pop(shard, None)
        self._more.discard(shard)
        try:
            found = await call
        except GatewayError as exc:
            if self._outages.begin(shard, str(exc)):
                _log.warning("claim_failed", shard=shard, problem=str(exc))
            return None
        finally:
            self._asked.discard(shard)
            self._wake.set()
        self._outages.end(shard)
        if found.lines:
            self._waiting[shard] = found.lines
        if found.has_more:
            self._more.add(shard)
        if found.again_s is not None:
            self._loop.call_later(found.again_s, self.look_at, shard)
        return found.claim
