"""What came in on one connection and is still to be done, in order."""

from __future__ import annotations

import asyncio
from sys import getsizeof
from typing import TYPE_CHECKING

from gateway.protocol.state_machine import Perform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.clock import Clock
    from gateway.connections.socket import Socket
    from gateway.protocol.decoder import Frame
    from gateway.protocol.messages import Request
    from gateway.protocol.state_machine import ConnectionProtocol, Effect

MAX_FRAMES = 64  # read ahead of what is performed; when full, reading stops
SMALL = 1_024  # characters or bytes: MAX_FRAMES of such are not worth being measured
MAX_TOGETHER = 64  # requests performed in one step


class Inbox:
    """Frames as they came, and the effects of the message that was read last.

    Full with MAX_FRAMES, or with `max_bytes` in memory, of which a character of text may take four
    (PEP 393). Then it stops the socket's reading, and lets it go on when half of it is done: in
    another turn of the loop, so that a flood of small frames leaves others theirs.
    """

    __slots__ = (
        "_clock",
        "_effects",
        "_frames",
        "_is_paused",
        "_max_bytes",
        "_protocol",
        "_socket",
        "large_bytes",
    )

    def __init__(
        self, protocol: ConnectionProtocol, socket: Socket, clock: Clock, *, max_bytes: int
    ) -> None:
        self._protocol = protocol
        self._socket = socket
        self._clock = clock
        self._max_bytes = max_bytes
        self.large_bytes = 0  # of the frames that are not SMALL, in memory
        self._frames: list[Frame] = []
        self._effects: list[Effect] = []
        self._is_paused = False

    def __bool__(self) -> bool:
        return bool(self._frames or self._effects or self._protocol.is_in_batch)

    @property
    def message_bytes(self) -> int:
        """How large the message was that was taken, or peeked at, last."""
        return self._protocol.message_bytes

    @property
    def next_bytes(self) -> int:
        """How large the frame is that `take` would begin; 0 if it has one, or nothing."""
        if self._effects or self._protocol.is_in_batch or not self._frames:
            return 0
        return len(self._frames[0])

    def add(self, frame: Frame) -> None:
        """Take a frame."""
        self._frames.append(frame)
        if len(frame) > SMALL:
            self.large_bytes += getsizeof(frame)
            if self.large_bytes >= self._max_bytes:
                self._pause()
        if len(self._frames) >= MAX_FRAMES:
            self._pause()

    def take(self) -> Effect | None:
        """Take what is to be done next; None if there is nothing."""
        return self._effects.pop(0) if self._effects or self.peek() is not None else None

    def take_joining(self, joins: Callable[[Request], bool]) -> Iterator[Request]:
        """Take the requests that follow, as far as they join the one taken last.

        They are MAX_TOGETHER with that one, or `max_bytes`, at the most.
        """
        protocol = self._protocol
        left = self._max_bytes - protocol.message_bytes
        for _ in range(MAX_TOGETHER - 1):
            effect = self.peek()
            left -= protocol.message_bytes
            if left < 0 or not isinstance(effect, Perform) or not joins(effect.request):
                return
            del self._effects[0]
            yield effect.request

    def peek(self) -> Effect | None:
        """What `take` would take."""
        while not self._effects:
            if self._protocol.is_in_batch:
                self._effects.extend(self._protocol.receive_next(self._clock.monotonic_s()))
            elif self._frames:
                frame = self._frames.pop(0)
                if self.large_bytes and len(frame) > SMALL:
                    self.large_bytes -= getsizeof(frame)
                if self._is_paused:
                    self._resume()
                self._effects.extend(self._protocol.receive(frame, self._clock.monotonic_s()))
            else:
                return None
        return self._effects[0]

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._socket.pause_reading()

    def _resume(self) -> None:
        if len(self._frames) <= MAX_FRAMES // 2 and self.large_bytes <= self._max_bytes // 2:
            self._is_paused = False
            asyncio.get_running_loop().call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        if not self._is_paused:
            self._socket.resume_reading()
