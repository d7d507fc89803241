"""Tests of somebody who is quick enough: they say nothing where the machine stood still meanwhile.

A host that takes the processor away for half a second makes everybody late, the client of a test
too. Such a try does not count; what fails in a calm one has failed.
"""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
TRIES = 5
LATE_S = 0.1  # a loop that is later than this was not let run
TICK_S = 0.02


class Lateness:
    """How late the running loop was at the most, since this was made until `stop`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._worst_s = 0.0
        self._tick()

    def stop(self) -> float:
        """Watch no more; return it in seconds."""
        self._look()
        self._timer.cancel()
        return self._worst_s

    def _tick(self) -> None:
        self._look()
        self._due = self._loop.time() + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)

    def _look(self) -> None:
        self._worst_s = max(self._worst_s, self._loop.time() - self._due)


def in_calm(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
    """Try a test again, up to TRIES times, if it failed while its loop stood still."""

    @wraps(test)
    async def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(TRIES - 1):
            lateness = Lateness()
            try:
                await test(*args, **kwargs)
            except Exception:
                if lateness.stop() < LATE_S:
                    raise
            else:
                lateness.stop()
                return
        await test(*args, **kwargs)

    return tried
