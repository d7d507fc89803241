"""What the server sends as the payload of frames, in JSON and in MessagePack; no I/O.

An encoder is shared by all connections that negotiated its codec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog

from gateway.protocol.frames import binary_frame, text_frame
from gateway.protocol.json_text import JsonText
from gateway.protocol.unreadable import CANNOT, is_readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.protocol.decoder import CodecName
    from gateway.protocol.publications import Publication


_log = structlog.get_logger(__name__)


class FrameEncoder(Protocol):
    """Writes what the server sends, in one codec."""

    codec: CodecName
    is_text: bool

    def encode(self, message: msgspec.Struct) -> bytes:
        """Write one message as the payload of one frame."""

    def events(self, events: Sequence[Publication]) -> list[bytes]:
        """Write `event` pushes of one conversation and epoch, without parsing if it can."""

    def passed_on(self, push: JsonText) -> bytes:
        """Write a push that another replica has finished."""

    def frame(self, payload: bytes) -> bytes:
        """Make a payload a finished WebSocket frame."""


class JsonEncoder:
    """Text frames. Finished JSON is spliced in as it is."""

    codec: CodecName = "json"
    is_text = True
    frame = staticmethod(text_frame)

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_splice)

    def encode(self, message: msgspec.Struct) -> bytes:
        """Write one message."""
        return self._encoder.encode(message)

    def events(self, events: Sequence[Publication]) -> list[bytes]:
        """Write `event` pushes; ids need no escaping (docs/protocol.md, Identifiers)."""
        first = events[0]
        head = (
            f'{{"type":"event","conversation_id":"{first.conversation_id}",'
            f'"epoch":"{first.epoch}","offset":'
        ).encode()
        return [
            b'%b%d,"event":%b}' % (head, event.offset, event.event.data)
            if event.from_offset is None
            else b'%b%d,"from_offset":%d,"event":%b}'
            % (head, event.offset, event.from_offset, event.event.data)
            for event in events
        ]

    def passed_on(self, push: JsonText) -> bytes:
        """Write a finished push."""
        return push.data


class MsgpackEncoder:
    """Binary frames. Finished JSON is decoded and written as MessagePack."""

    codec: CodecName = "msgpack"
    is_text = False
    frame = staticmethod(binary_frame)

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_parse)
        self._careful = msgspec.msgpack.Encoder(enc_hook=_parse_readable)

    def encode(self, message: msgspec.Struct) -> bytes:
        """Write one message; a part of it that cannot be written becomes `UNREADABLE`."""
        try:
            return self._encoder.encode(message)
        except CANNOT as exc:
            _log.exception("reply_unreadable", type=type(message).__name__, exc_info=exc)
            return self._careful.encode(message)

    def events(self, events: Sequence[Publication]) -> list[bytes]:
        """Write `event` pushes."""
        return [
            self._encoder.encode(
                {
                    "type": "event",
                    "conversation_id": event.conversation_id,
                    "epoch": event.epoch,
                    "offset": event.offset,
                    "event": event.event,
                    **({} if event.from_offset is None else {"from_offset": event.from_offset}),
                }
            )
            for event in events
        ]

    def passed_on(self, push: JsonText) -> bytes:
        """Write a finished push."""
        return self._encoder.encode(push.value())


UNREADABLE = {"unreadable": True}


def _splice(value: object) -> msgspec.Raw:
    if isinstance(value, JsonText):
        return msgspec.Raw(value.data)
    raise NotImplementedError(type(value))


def _parse(value: object) -> Any:  # the user's own JSON
    if isinstance(value, JsonText):
        return value.value()
    raise NotImplementedError(type(value))


def _parse_readable(value: object) -> Any:  # the user's own JSON
    if isinstance(value, JsonText) and not is_readable(value):
        return UNREADABLE
    return _parse(value)


ENCODERS: dict[CodecName, FrameEncoder] = {"json": JsonEncoder(), "msgpack": MsgpackEncoder()}
