"""Frames to messages and back: JSON in text frames, or MessagePack in binary ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from gateway_client.errors import BadFrame
from gateway_client.protocol.messages import UnreadableEvent

CodecName = Literal["json", "msgpack"]
Frame = str | bytes


@dataclass(frozen=True)
class Codec:
    """One of the protocol's two encodings."""

    name: CodecName = "json"

    @property
    def subprotocol(self) -> str:
        """What the WebSocket handshake offers."""
        return f"gateway.v1.{self.name}"

    def encode(self, message: Any) -> Frame:
        """Encode one message as a frame: text for JSON, bytes for MessagePack."""
        if self.name == "msgpack":
            return msgspec.msgpack.encode(message)
        return msgspec.json.encode(message).decode()

    def decode(self, frame: Frame) -> list[dict[str, Any]]:
        """Decode a frame: one message, a batch of them, or none if it is empty.

        Raises:
            BadFrame: It is not the encoding agreed upon, or holds something else than messages.
        """
        if not frame:
            return []
        try:
            value = self._load(frame)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise BadFrame(str(exc)) from exc
        messages = value if isinstance(value, list) else [value]
        if not all(isinstance(message, dict) for message in messages):
            problem = "a message is not a map"
            raise BadFrame(problem)
        return messages

    def _load(self, frame: Frame) -> Any:
        if self.name == "json":
            return msgspec.json.decode(frame)
        if isinstance(frame, str):
            problem = "a text frame, and MessagePack was agreed upon"
            raise BadFrame(problem)
        return msgspec.msgpack.decode(frame)


# How the server begins an `event` frame in JSON; what follows is the event itself.
_EVENT_HEAD = re.compile(
    r'\{"type":"event","conversation_id":"(?P<conversation_id>[\w-]{1,64})","epoch":"(?P<epoch>\w+)",'
    r'"offset":(?P<offset>[0-9]{1,16}),(?:"from_offset":(?P<from_offset>[0-9]{1,16}),)?"event":'
)


class _Place(msgspec.Struct, tag="event"):
    """An `event` push, whatever its event is."""

    conversation_id: str
    epoch: str
    offset: int
    event: msgspec.Raw
    from_offset: int | None = None


def place_in(frame: Frame, *, problem: str) -> UnreadableEvent | None:
    """Return which entry of which log a frame was to bring that cannot be decoded, if it tells."""
    place: Any
    if isinstance(frame, str):
        match = _EVENT_HEAD.match(frame)
        place = match and match.groupdict()
    else:
        try:
            place = msgspec.structs.asdict(msgspec.msgpack.decode(frame, type=_Place))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            place = None
    if place is None:
        return None
    try:
        return msgspec.convert({**place, "problem": problem}, UnreadableEvent, strict=False)
    except msgspec.ValidationError:  # no place that a log can have
        return None


def frame_bytes(frame: Frame) -> int:
    """How many bytes the frame takes on the wire."""
    return len(frame.encode()) if isinstance(frame, str) else len(frame)
