"""How many connections begin in one turn of the loop, so that those that are open have theirs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

AT_ONCE = 32  # handshakes, token and greeting included: 10 ms; 2,000 that came together took 700


class Pace:
    """Begins AT_ONCE things in a turn of the loop; what is more waits, in order, for the next ones.

    Bounded by who waits: a connection waits once, and reads nothing meanwhile.
    """

    __slots__ = ("_is_on", "_left", "_waiting")

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_on = False  # the next turn is asked for

    def may_begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Count one that begins now; if not, let it `wait`."""
        if self._left:
            self._left -= 1
            return True
        if not self._is_on:
            self._is_on = True
            loop.call_soon(self._next_turn, loop)
        return False

    def wait(self, begin: Callable[[], None]) -> None:
        """Call `begin` in a later turn."""
        self._waiting.append(begin)

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = AT_ONCE
        while self._waiting and self._left:
            self._left -= 1
            loop.call_soon(self._waiting.popleft())  # each by itself: one's failure is its own
        self._is_on = bool(self._waiting)
        if self._is_on:
            loop.call_soon(self._next_turn, loop)
