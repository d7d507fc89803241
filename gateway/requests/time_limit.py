"""Time limits of requests: one that others check, and one with a timer."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_NEVER = float("inf")


class TimeLimit:
    """Limits the time of one block after the other, in whichever task enters it.

    A timer for each request costs more than most requests; `check`, called for every connection by
    the one ticker, is as exact as the ticker.
    """

    __slots__ = ("_ends_at", "_is_overdue", "_limit_s", "_task")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ends_at = _NEVER
        self._is_overdue = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._ends_at = monotonic() + self._limit_s

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        self._ends_at = _NEVER
        if self._is_overdue:
            self._is_overdue = False
            if task is not None and task.uncancel() == 0 and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def check(self) -> None:
        """Cancel the block if its time is over; it raises TimeoutError."""
        if self._ends_at == _NEVER or self._task is None or self._is_overdue:
            return
        if monotonic() >= self._ends_at:
            self._cancel(self._task)

    def _cancel(self, task: asyncio.Task[object]) -> None:
        self._is_overdue = True
        task.cancel()


class TimerLimit(TimeLimit):
    """One that needs nobody to check it, for requests that no ticker looks after."""

    __slots__ = ("_timer",)

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        super().__enter__()
        self._timer = asyncio.get_running_loop().call_later(self._limit_s, self._expire)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().__exit__(kind, error, traceback)

    def _expire(self) -> None:
        """Cancel the block, unless it was cancelled before."""
        if self._task is not None and not self._is_overdue:
            self._cancel(self._task)
