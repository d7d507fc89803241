"""How much of large messages is decoded in one turn of the loop, so that others have theirs."""

from __future__ import annotations

import asyncio
from collections import deque

LARGE_BYTES = 4_096  # smaller ones are not counted: the read-ahead and batches are bounded anyway
AT_ONCE_BYTES = 65_536  # decoded and checked: 1 to 6 ms, by what they are made of


class LoopShare:
    """Lets AT_ONCE_BYTES of large messages, or a larger one, be decoded in a turn of the loop.

    Over all connections of the replica: twenty sockets of a subject take turns. What is more waits
    for the next turns, in order. Bounded by who waits: a connection waits once, and what it may
    have read ahead meanwhile is bounded.
    """

    __slots__ = ("_is_on", "_left_bytes", "_waiting")

    def __init__(self) -> None:
        self._left_bytes = AT_ONCE_BYTES
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._is_on = False  # the next turn is asked for

    def take(self, size_bytes: int) -> asyncio.Future[None] | None:
        """Count a message that is to be decoded now; returns what to await before it is, if any.

        Who is cancelled meanwhile is passed over.
        """
        if size_bytes < LARGE_BYTES:
            return None
        loop = asyncio.get_running_loop()
        if not self._is_on:
            self._is_on = True
            loop.call_soon(self._next_turn, loop)
        if self._left_bytes > 0 and not self._waiting:
            self._left_bytes -= size_bytes
            return None
        waiting = loop.create_future()
        self._waiting.append((waiting, size_bytes))
        return waiting

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left_bytes = AT_ONCE_BYTES
        while self._waiting and self._left_bytes > 0:
            waiting, size_bytes = self._waiting.popleft()
            if not waiting.done():
                self._left_bytes -= size_bytes
                waiting.set_result(None)
        self._is_on = self._left_bytes < AT_ONCE_BYTES
        if self._is_on:
            loop.call_soon(self._next_turn, loop)
