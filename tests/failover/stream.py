"""What one client was told of one conversation, frame by frame, over all its sockets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.receiving import Receiver

Message = dict[str, Any]
Name = tuple[str, int]  # (epoch, offset)
LOG_FRAMES = {"event", "snapshot", "epoch_changed"}


@dataclass
class Stream:
    """The record of a client.

    Attributes:
        frames: `event`, `snapshot` and `epoch_changed` as they came. Where `session_ready` or
            `joined` told of the conversation stands a `position` with what they told.
        accepted: every `message_accepted`, with the `content` that was sent.
    """

    client: str
    conversation: str
    frames: list[Message] = field(default_factory=list)
    accepted: list[Message] = field(default_factory=list)

    def watch(self, socket: Receiver) -> None:
        """Record what comes over a socket from now on."""
        socket.on_message = self.take

    def take(self, message: Message) -> None:
        """Record a frame, if it tells of the conversation's log."""
        kind = message["type"]
        if kind == "session_ready" and self.conversation in message["conversations"]:
            told = message["conversations"][self.conversation]
            self.frames.append(told | {"type": "position"})
        elif message.get("conversation_id") == self.conversation:
            if kind == "joined":
                self.frames.append(message | {"type": "position"})
            elif kind in LOG_FRAMES:
                self.frames.append(message)

    def accept(self, content: object, reply: Message) -> None:
        """Record that a message was accepted."""
        self.accepted.append(reply | {"content": content})


@dataclass(frozen=True)
class Surviving:
    """What is there in the end, as fresh clients of a gateway are told it.

    Attributes:
        history: all messages, oldest first.
        context: `agent_context`.
        position: the end of the log.
        events: the log's entries by name, as a reader is told them.
        is_whole: `events` are all there ever were, from `base` on: no snapshot came instead.
        base: where the clients began.
        covered_from: without `is_whole`, events beyond this offset are all there.
    """

    history: list[Message]
    context: Message
    position: Message
    events: dict[Name, Message]
    is_whole: bool = True
    base: Name = ("", 0)
    covered_from: int = 0

    @property
    def epochs(self) -> set[str]:
        """The epochs of the log's entries."""
        return {epoch for epoch, _ in self.events}


def name_of(frame: Message) -> Name:
    """The name of an event, a position or a snapshot."""
    return frame["epoch"], frame["offset"]
