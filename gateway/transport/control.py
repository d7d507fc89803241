"""What an application may do to the connection below its WebSocket: see it, cut it, take it over.

`control_of(scope)` is there under both of our WebSocket classes, `direct_control_of(scope)` under
the fast one only. Under another ASGI server the extension is missing, and an application that
wants to run there uses `receive` and `send`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXTENSION = "gateway.transport"
ABNORMAL = 1006  # RFC 6455 section 7.1.5: ended without a close frame; never sent


class TransportControl(ABC):
    """`scope["extensions"]["gateway.transport"]` of a WebSocket.

    Safe to use at any time, also after the connection has ended.
    """

    __slots__ = ()

    @abstractmethod
    def abort(self) -> None:
        """Drop the TCP connection now, with all that is queued; `receive` then tells 1006."""

    @abstractmethod
    def write_buffer_bytes(self) -> int:
        """Return how many bytes wait here; the kernel holds up to `send_buffer_bytes` besides."""

    @abstractmethod
    def heard_at_s(self) -> float:
        """Return when the peer's last bytes came, pings and parts of frames included.

        In seconds of `loop.time()`, which is monotonic.
        """

    @abstractmethod
    def tell_other_frames(self, listener: Callable[[int], None]) -> None:
        """Call a listener as `Receiver.other_frames`, and limit those frames here no more.

        Until somebody counts them, more than `other_frames_per_s` of the limits close with 4103.
        """


class Receiver(Protocol):
    """What takes over a WebSocket from its application.

    It is called by the event loop, outside any task, and must return at once. An exception closes
    the connection with 1011.
    """

    def message(self, data: str | bytes) -> None:
        """Take one whole message: text as str, binary as bytes."""

    def other_frames(self, count: int) -> None:
        """Count frames that were no whole message: pings, pongs, fragments.

        They may have no bytes, so that only who counts them bounds them.
        """

    def writing_resumed(self) -> None:
        """Go on writing: the peer has read, `is_writable` is true again."""

    def writing_stalled(self) -> None:
        """Close: the peer has taken nothing for `write_timeout_s`. Its time to read on is short."""

    def ended(self) -> None:
        """Let go: the connection is over. Called once, and nothing after it."""


class DirectControl(TransportControl):
    """A control through which a receiver takes the place of the application.

    Nothing here waits. What the peer does not read is bounded by the one who writes, who asks
    `is_writable`; of a peer that takes nothing for `write_timeout_s` the receiver is told
    (`writing_stalled`), and it is cut `close_timeout_s` later if it still does not read.
    """

    __slots__ = ()

    @abstractmethod
    def hand_over(self, receiver: Receiver) -> None:
        """Give messages to a receiver from now on, and no more to `receive`.

        Those parsed already are given before this returns, however many; `ended` too, if it has
        ended. The application may then return: the connection lives on without any task. Call it
        once, after `websocket.accept`.
        """

    @property
    @abstractmethod
    def is_writable(self) -> bool:
        """False while more is buffered than the peer keeps up with; `writing_resumed` follows."""

    @abstractmethod
    def write(self, frames: bytes) -> None:
        """Write finished frames (gateway/protocol/frames.py), any number of them.

        Dropped without a word when the connection is over or closing.
        """

    @abstractmethod
    def pause_reading(self) -> None:
        """Give no more messages; at most one chunk of the socket (256 KiB) is kept unparsed.

        Pings are not answered meanwhile, and the end is found only if the connection breaks.
        """

    @abstractmethod
    def resume_reading(self) -> None:
        """Give messages again; those that were kept are given before this returns.

        Within `Receiver.message` it returns at once, and they follow after it.
        """

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, after what was written; messages are dropped from now on.

        `ended` is called when the peer has answered, after `close_timeout_s` at the most. A reason
        that does not fit a frame (123 bytes) is cut.
        """


def control_of(scope: Mapping[str, object]) -> TransportControl:
    """Return the control of an ASGI WebSocket scope.

    Raises:
        KeyError: another server made this scope.
    """
    extensions = cast("Mapping[str, object]", scope["extensions"])
    return cast("TransportControl", extensions[EXTENSION])


def direct_control_of(scope: Mapping[str, object]) -> DirectControl | None:
    """Return the control that takes a receiver; None under any class or server without it."""
    extensions = cast("Mapping[str, object]", scope.get("extensions") or {})
    control = extensions.get(EXTENSION)
    return control if isinstance(control, DirectControl) else None
