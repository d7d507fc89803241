"""Keeps the leases of a worker's runs, and says which agents it has, in a thread of its own.

An agent that blocks the event loop, with a long computation or a call that is not asynchronous,
must not lose its run for that: here is another loop, with a connection of its own.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import structlog

from gateway.errors import GatewayError
from gateway.store.store import Store
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.clock import Clock
    from gateway.settings import Settings
    from gateway.store.runs import Attempt

STOP_S = 5.0  # how long the thread may take to end
_log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews three times a lease; tells `on_lost` (in the keeper's thread) what could not be.

    Runs whose agent no worker has are ended after a while: a worker must not seem to be gone while
    an agent blocks it.
    """

    def __init__(
        self,
        settings: Settings,
        redis_url: str,
        *,
        clock: Clock,
        agents: Sequence[str],
        on_lost: Callable[[Attempt], None],
    ) -> None:
        self._settings = settings
        self._redis_url = redis_url
        self._clock = clock
        self._agents = agents
        self._on_lost = on_lost
        self._attempts: dict[str, tuple[Attempt, float]] = {}  # by owner, with until when
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for the thread."""
        self._stopping.set()
        self._thread.join(STOP_S)

    def keep(self, attempt: Attempt) -> None:
        """Renew the lease of an attempt from now on, until it must be over."""
        settings = self._settings
        time_s = attempt.time_left_s + settings.run_cleanup_s + settings.run_lease_s
        until = self._clock.monotonic_s() + time_s
        self._attempts[attempt.owner] = (attempt, until)

    def drop(self, attempt: Attempt) -> None:
        """Renew it no more."""
        self._attempts.pop(attempt.owner, None)

    def _run(self) -> None:
        asyncio.run(self._keep_for_ever())

    async def _keep_for_ever(self) -> None:
        store = Store(self._settings, self._redis_url, clock=self._clock)
        pause_s = self._settings.run_lease_s / 3
        try:
            while not self._stopping.is_set():
                await self._vouch(store)
                await together(self._renew(store, item) for item in list(self._attempts.values()))
                await asyncio.to_thread(self._stopping.wait, pause_s)
        finally:
            store.close()

    async def _vouch(self, store: Store) -> None:
        try:
            await store.unserved.vouch(self._agents)
        except GatewayError as exc:
            _log.warning("agents_not_announced", problem=str(exc))

    async def _renew(self, store: Store, item: tuple[Attempt, float]) -> None:
        attempt, until = item
        if self._clock.monotonic_s() > until:
            self.drop(attempt)  # the agent blocks beyond its time: let another end the run
            return
        try:
            if not await store.runs.renew(attempt):
                self.drop(attempt)
                self._on_lost(attempt)
        except GatewayError as exc:
            _log.warning("lease_not_renewed", run_id=attempt.name.run_id, problem=str(exc))
