"""A time limit without a timer of its own: whoever keeps the time asks it now and then."""

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
            self._is_overdue = True
            self._task.cancel()
