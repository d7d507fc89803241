"""A worker: claims runs, executes them, gives them back when it stops.

It hears of ready runs on pub/sub and looks at every shard from time to time besides, so that a
lost word or a dead worker delays a run and never strands it.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import structlog

from gateway.agents import AgentRegistry
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.protocol.ids import random_id
from gateway.runs.agent_task import containing_agents
from gateway.runs.claiming import Claiming
from gateway.runs.execution import Execution
from gateway.runs.lease_keeper import LeaseKeeper
from gateway.runs.neighbours import Neighbours
from gateway.runs.run_watch import RunWatch
from gateway.runs.slots import Slots
from gateway.store.opening import Opened, opened_store
from gateway.store.redis.subscriber import Subscriber
from gateway.tasks import doing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.settings import Settings
    from gateway.store.run_lines import Claim
    from gateway.store.runs import Attempt
    from gateway.store.store import Store

SWEEPS_A_LEASE = 5  # a run of a dead worker waits a lease and a fifth of it, at most
LONGEST_SWEEP_S = 3.0
_log = structlog.get_logger(__name__)


class Worker:
    """Executes runs, at most `concurrency` at once. `run` until cancelled."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        agents: AgentRegistry,
        redis_url: str,
        *,
        clock: Clock,
        concurrency: int,
    ) -> None:
        self._store = store
        self._settings = settings
        self._agents = agents
        self._clock = clock
        self._slots = Slots(
            concurrency,
            subject_share=settings.worker_subject_share,
            tenant_share=settings.worker_tenant_share,
        )
        self._claiming = Claiming(store.lines, agents.names, self._slots, self._execute)
        self._attempts: dict[str, tuple[Execution, asyncio.Task[None]]] = {}  # by owner
        self._loop = asyncio.get_running_loop()
        self._keeper = LeaseKeeper(
            settings, redis_url, clock=clock, agents=agents.names, on_lost=self._lose_later
        )
        self.worker_id = random_id("w")
        self._neighbours = Neighbours(store, settings, redis_url, self.worker_id)
        self.is_stopping = False
        self._subscriber = Subscriber(
            store.redis,
            store.keys.replica_channel(self.worker_id),
            on_message=self._hear,
            on_rebuilt=self._claiming.look_everywhere,
        )

    @property
    def running(self) -> int:
        """How many runs are executed now."""
        return len(self._attempts)

    async def run(self) -> None:
        """Work until cancelled; runs under way are given back then."""
        self._keeper.start()
        try:
            with containing_agents(), self._neighbours:
                await self._work()
        finally:
            self._keeper.stop()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._subscriber.run(), name="worker-subscriber")
            group.create_task(self._subscribe(), name="worker-subscribe")
            group.create_task(self._sweep_for_ever(), name="worker-sweep")
            try:
                await self._claiming.run(group)
            finally:
                self.is_stopping = True
                await self._let_finish()

    async def _let_finish(self) -> None:
        """Wait for runs that another worker could not go on with, half the drain's time at most."""
        cannot_move = [task for execution, task in self._attempts.values() if execution.is_bound]
        if cannot_move:
            limit_s = self._settings.drain_timeout_s / 2
            _log.info("worker_waits", runs=len(cannot_move), limit_s=limit_s)
            await asyncio.wait(cannot_move, timeout=limit_s)

    async def _subscribe(self) -> None:
        while True:
            try:
                await self._subscriber.subscribe(
                    self._store.keys.wake_channel, timeout_s=self._settings.redis_timeout_s
                )
            except GatewayError:
                continue
            return

    async def _execute(self, claim: Claim) -> None:
        try:
            attempt = await self._store.runs.begin(claim, worker_id=self.worker_id)
            if attempt is not None:
                await self._attempt(attempt, cast("asyncio.Task[None]", asyncio.current_task()))
        except GatewayError as exc:
            _log.warning("run_attempt_failed", run_id=claim.name.run_id, problem=str(exc))
        except Exception:  # noqa: BLE001  # the edge: a bug costs this attempt, not the worker
            _log.exception("run_attempt_crashed", run_id=claim.name.run_id)

    async def _attempt(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        run_id = attempt.name.run_id
        execution = Execution(
            self._store,
            self._settings,
            attempt,
            self._agents.get(attempt.agent),
            clock=self._clock,
        )
        self._attempts[attempt.owner] = (execution, task)
        self._keeper.keep(attempt)
        try:
            if not await execution.run():  # if it is ours still, it need not wait for its lease
                await self._give_back(attempt)
        except asyncio.CancelledError:
            if self.is_stopping:
                await self._give_back(attempt)
                raise
            _log.info("run_stopped", run_id=run_id)  # it was cancelled, or is another's now
        finally:
            self._keeper.drop(attempt)
            del self._attempts[attempt.owner]

    async def _give_back(self, attempt: Attempt) -> None:
        with contextlib.suppress(GatewayError):
            async with asyncio.timeout(self._settings.redis_timeout_s):
                await self._store.runs.give_back(attempt)

    async def _sweep_for_ever(self) -> None:
        pause_s = min(self._settings.run_lease_s / SWEEPS_A_LEASE, LONGEST_SWEEP_S)
        while True:
            self._claiming.look_everywhere()
            if await self._neighbours.release_dead():
                self._claiming.look_everywhere()
            await asyncio.sleep(pause_s)

    def _hear(self, channel: str, payload: bytes) -> None:
        del channel
        what, _, which = payload.decode().partition(":")
        if what == "ready":
            self._claiming.look_at(int(which))
        elif what == "ended":
            for owner, (execution, _) in list(self._attempts.items()):
                if execution.run_id == which:
                    self._lose(owner)

    def _lose(self, owner: str) -> None:
        """The run of an attempt is another's, or has ended: stop its agent, unless it is us."""
        execution, task = self._attempts.get(owner, (None, None))
        if task is None or execution is None or execution.is_ending or execution.is_lost:
            return
        execution.is_lost = True  # told once: a second word would cut its cleaning up short
        task.cancel()

    def _lose_later(self, attempt: Attempt) -> None:
        self._loop.call_soon_threadsafe(self._lose, attempt.owner)


def make_worker(settings: Settings, opened: Opened, agents: AgentRegistry, clock: Clock) -> Worker:
    """A worker on an open store."""
    return Worker(
        opened.store,
        settings,
        agents,
        opened.url,
        clock=clock,
        concurrency=settings.worker_concurrency,
    )


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Worker]:
    """Execute runs while the block runs; those under way at its end are given back."""
    clock = Clock()
    agents = AgentRegistry.load(settings)
    async with opened_store(settings, clock) as opened:
        worker = make_worker(settings, opened, agents, clock)
        watch = RunWatch(opened.store, settings, clock=clock)
        async with doing({"worker": worker.run(), "run-watch": watch.run()}):
            yield worker
