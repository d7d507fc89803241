"""What came in on one connection and is still to be done, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.protocol import Perform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.clock import Clock
    from gateway.codecs import Frame
    from gateway.messages import Request
    from gateway.protocol import ConnectionProtocol, Effect
    from gateway.socket import Socket

MAX_FRAMES = 64  # read ahead of the worker; when full, reading stops
MAX_TOGETHER = 64  # requests performed in one step


class Inbox:
    """Frames, and the effects of those that were read already.

    When full, it stops the socket's reading, and lets it go on when half of it is done.
    """

    __slots__ = ("_clock", "_effects", "_frames", "_is_paused", "_protocol", "_socket")

    def __init__(self, protocol: ConnectionProtocol, socket: Socket, clock: Clock) -> None:
        self._protocol = protocol
        self._socket = socket
        self._clock = clock
        self._frames: list[Frame] = []
        self._effects: list[Effect] = []
        self._is_paused = False

    def __bool__(self) -> bool:
        return bool(self._frames or self._effects)

    def add(self, frame: Frame) -> None:
        """Take a frame."""
        self._frames.append(frame)
        if len(self._frames) >= MAX_FRAMES and not self._is_paused:
            self._is_paused = True
            self._socket.pause_reading()

    def take(self) -> Effect | None:
        """Take what is to be done next; None if there is nothing."""
        return self._effects.pop(0) if self._effects or self.peek() is not None else None

    def take_joining(self, joins: Callable[[Request], bool]) -> Iterator[Request]:
        """Take the requests that follow, as far as they join the one taken last."""
        for _ in range(MAX_TOGETHER - 1):
            effect = self.peek()
            if not isinstance(effect, Perform) or not joins(effect.request):
                return
            del self._effects[0]
            yield effect.request

    def peek(self) -> Effect | None:
        """What `take` would take."""
        while self._frames and not self._effects:
            frame = self._frames.pop(0)
            if self._is_paused and len(self._frames) <= MAX_FRAMES // 2:
                self._is_paused = False
                self._socket.resume_reading()
            self._effects.extend(self._protocol.receive(frame, self._clock.monotonic_s()))
        return self._effects[0] if self._effects else None
