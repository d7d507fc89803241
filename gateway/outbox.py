"""What waits to be sent on one connection: bounded bytes, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.codecs import Frame


class Outbox:
    """A bounded queue of frames.

    When full, nothing more is taken, `on_full` is called once, and the connection ends as a slow
    consumer: nothing is lost, since the client resumes from the log. The size of a text frame is
    counted in characters.
    """

    def __init__(self, max_bytes: int, *, on_full: Callable[[], None]) -> None:
        self._frames: deque[Frame] = deque()
        self.max_bytes = max_bytes
        self._on_full = on_full
        self._bytes = 0
        self._is_finished = False
        self._is_full = False
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def waiting_bytes(self) -> int:
        """Bytes put in and not yet sent."""
        return self._bytes

    @property
    def room_bytes(self) -> int:
        """How much a replay may put in at once: up to half of the whole."""
        return max(0, self.max_bytes // 2 - self._bytes)

    @property
    def has_room(self) -> bool:
        """Whether a replay may put more in."""
        return self._drained.is_set()

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will be put in."""
        return self._is_finished

    def put(self, frame: Frame) -> None:
        """Add a frame; dropped if the outbox is finished or full."""
        if self._is_finished or self._is_full:
            return
        size = len(frame)
        if self._bytes and self._bytes + size > self.max_bytes:
            self._is_full = True
            self._on_full()
            return
        self._frames.append(frame)
        self._bytes += size
        self._filled.set()
        if self._bytes * 2 > self.max_bytes:
            self._drained.clear()

    def finish(self, last: Frame | None = None, *, drop: bool = False) -> None:
        """Let nothing more in after `last`. With `drop`, what waits is thrown away first."""
        if self._is_finished:
            return
        if drop:
            self._frames.clear()
            self._bytes = 0
        if last is not None:
            self._frames.append(last)
            self._bytes += len(last)
        self._is_finished = True
        self._filled.set()
        self._drained.set()

    async def take(self) -> list[Frame]:
        """Wait for frames and take them all; empty only when finished."""
        if not self._frames and not self._is_finished:
            self._filled.clear()
            await self._filled.wait()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def sent(self, frame: Frame) -> None:
        """A frame has left: its room is free again."""
        self._bytes = max(0, self._bytes - len(frame))
        if self._bytes * 2 <= self.max_bytes:
            self._drained.set()

    async def room(self) -> None:
        """Wait until at most half is taken, or all is over: a replay keeps to the client's pace."""
        await self._drained.wait()
