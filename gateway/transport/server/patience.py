"""Waiting while the server stops: not longer than a limit, and not once it must stop at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_log = structlog.get_logger(__name__)

POLL_S = 0.02


def task(work: Callable[[], Awaitable[T]], name: str) -> asyncio.Task[T]:
    """Start a task outside any group: a group waits for ever for a task that ignores its cancel."""

    async def run() -> T:
        return await work()

    return asyncio.get_running_loop().create_task(run(), name=name)


class Patience:
    """Limits waits; `lose` ends all of them, those to come too."""

    def __init__(self) -> None:
        self._lost = asyncio.Event()

    @property
    def is_lost(self) -> bool:
        """Whether nothing is waited for any more."""
        return self._lost.is_set()

    def lose(self) -> None:
        """End all waits, now and later."""
        self._lost.set()

    async def within(
        self, work: Callable[[], Awaitable[object]], limit_s: float, *, name: str = "gateway-wait"
    ) -> bool:
        """Run `work` for `limit_s` at the most, or until patience is lost.

        Returns:
            Whether it ended by itself. An exception counts as that and is logged. Else it is
            cancelled, and left alone if it ignores that: it must not keep the server from stopping.
        """
        working = task(work, name)
        losing = task(self._lost.wait, "gateway-patience")
        try:
            await asyncio.wait(
                {working, losing}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            losing.cancel()
            is_done = working.done()
            working.cancel()
        if is_done and not working.cancelled() and (failure := working.exception()) is not None:
            _log.error("failed_while_stopping", task=name, exc_info=failure)
        return is_done

    async def until(self, is_true: Callable[[], bool], limit_s: float) -> None:
        """Wait until something is true, the limit has passed, or patience is lost."""

        async def poll() -> None:
            while not is_true():  # noqa: ASYNC110 -- it is a set of uvicorn's, which tells nobody
                await asyncio.sleep(POLL_S)

        if not is_true():
            await self.within(poll, limit_s)
