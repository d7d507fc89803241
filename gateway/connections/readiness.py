"""Whether Redis takes writes: the replica itself asks once a second, others read it out.

So `/readyz`, which anybody may ask, costs Redis nothing however often it is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.errors import StoreError

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store.store import Store

PROBE_S = 1.0  # between a probe's end and the next one's begin
FRESH_S = 5.0  # how old a write may be that counts; a probe at a server that hangs may take as long


class Readiness:
    """What the last probes found."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._written_at = float("-inf")  # when the last write began that was taken
        self._failed = False

    def is_writable(self) -> bool:
        """Whether the last probe that ended was taken, and not too long ago."""
        return not self._failed and self._clock.monotonic_s() - self._written_at < FRESH_S

    async def probe(self) -> None:
        """Write something, as durably as messages are."""
        began = self._clock.monotonic_s()
        try:
            await self._store.check_writable()
        except StoreError:
            self._failed = True
        else:
            self._failed, self._written_at = False, began

    async def run(self) -> None:
        """Probe, until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_S)
