"""A single time limit of a connection: armed, re-armed, disarmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer:
    """Calls `action` once, `delay_s` after it was armed, unless it is disarmed before.

    Lives outside any task: protocols are called by the event loop, and have none.
    """

    __slots__ = ("_action", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop = loop
        self._action = action
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, delay_s: float) -> None:
        """Start counting; counting that had begun before goes on unchanged."""
        if self._handle is None:
            self._handle = self._loop.call_later(delay_s, self._fire)

    def disarm(self) -> None:
        """Forget it; harmless when it is not armed."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        self._action()
