"""An ASGI application that hands its WebSockets over, and a receiver that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.protocol.frames import binary_frame, text_frame
from gateway.transport import direct_control_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.transport import DirectControl


@dataclass
class Recorder:
    """A receiver: remembers what it was given, in order, and does what it is told at a message."""

    control: DirectControl
    given: list[Any] = field(default_factory=list)
    at_message: Callable[[Recorder, Any], None] | None = None
    other_frames_count: int = 0

    def message(self, data: str | bytes) -> None:
        """Remember a message, and act."""
        self.given.append(data)
        if self.at_message is not None:
            self.at_message(self, data)

    def other_frames(self, count: int) -> None:
        """Add them up."""
        self.other_frames_count += count

    def writing_resumed(self) -> None:
        """Remember it, with whether it is true."""
        self.given.append(("resumed", self.control.is_writable))

    def writing_stalled(self) -> None:
        """Remember it."""
        self.given.append("stalled")

    def ended(self) -> None:
        """Remember it."""
        self.given.append("ended")


def echo(receiver: Recorder, data: Any) -> None:
    """Send a message back."""
    make = text_frame if isinstance(data, str) else binary_frame
    receiver.control.write(make(data.encode() if isinstance(data, str) else data))


@dataclass
class HandingApp:
    """Accepts, does `first` with `receive` and `send`, and hands over."""

    at_message: Callable[[Recorder, Any], None] | None = None
    first: Callable[..., Any] | None = None
    receivers: list[Recorder] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        control = direct_control_of(scope)
        assert control is not None
        await receive()
        receiver = Recorder(control, at_message=self.at_message)
        try:
            control.hand_over(receiver)
        except RuntimeError as exc:
            self.refused.append(str(exc))
        await send({"type": "websocket.accept"})
        if self.first is not None:
            await self.first(receive, send, control)
        self.receivers.append(receiver)
        control.hand_over(receiver)

    @property
    def receiver(self) -> Recorder:
        """The only one."""
        (receiver,) = self.receivers
        return receiver
