"""What waits to be sent on one connection: bounded bytes, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.codecs import Frame
    from gateway.published import Published


Outgoing: TypeAlias = "Frame | Published"


class Outbox:
    """A bounded queue of frames.

    When full, nothing more is taken, `on_full` is called once, and the connection ends as a slow
    consumer: nothing is lost, since the client resumes from the log. The size of a text frame is
    counted in characters. A frame counts for half of the whole at most: one that is larger than
    all (a reply of megabytes) passes whenever there is room, and leaves some to what follows it.
    """

    def __init__(self, max_bytes: int, *, on_full: Callable[[], None]) -> None:
        self._frames: deque[Outgoing] = deque()
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

    def put(self, frame: Outgoing) -> None:
        """Add a frame, or an event to be made into one; dropped if finished or full."""
        if self._is_finished or self._is_full:
            return
        size = self._cost(frame)
        if self._bytes + size > self.max_bytes:
            self._is_full = True
            self._on_full()
            return
        self._frames.append(frame)
        self._bytes += size
        self._filled.set()
        if self._bytes * 2 > self.max_bytes:
            self._drained.clear()

    def put_live(self, event: Published) -> None:
        """Add an event just heard. More than half full, adjacent text of one message is merged."""
        last = self._frames[-1] if self._frames and not self.has_room else None
        merged = None if last is None or isinstance(last, str | bytes) else last.merged_with(event)
        if merged is None or last is None or self._is_finished or self._is_full:
            self.put(event)
            return
        self._frames[-1] = merged
        self._bytes += self._cost(merged) - self._cost(last)

    def finish(self, last: Frame | None = None, *, drop: bool = False) -> None:
        """Let nothing more in after `last`. With `drop`, what waits is thrown away first."""
        if self._is_finished:
            return
        if drop:
            self._frames.clear()
            self._bytes = 0
        if last is not None:
            self._frames.append(last)
            self._bytes += self._cost(last)
        self._is_finished = True
        self._filled.set()
        self._drained.set()

    async def take(self) -> list[Outgoing]:
        """Wait for frames and take them all; empty only when finished."""
        if not self._frames and not self._is_finished:
            self._filled.clear()
            await self._filled.wait()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def sent(self, frame: Outgoing) -> None:
        """A frame has left: its room is free again."""
        self._bytes = max(0, self._bytes - self._cost(frame))
        if self._bytes * 2 <= self.max_bytes:
            self._drained.set()

    async def room(self) -> None:
        """Wait until at most half is taken, or all is over: a replay keeps to the client's pace."""
        await self._drained.wait()

    def _cost(self, item: Outgoing) -> int:
        size = len(item) if isinstance(item, str | bytes) else item.size
        return min(size, self.max_bytes // 2)
