"""What the server sends, as bytes: the seam for codecs and dialects, JSON and MessagePack; no I/O.

A new encoder is one class with the four methods of `Encoder`, shared by all its receivers. Merging,
one encoding for all receivers and what cannot be read are not its business: the outbox merges, a
batch keeps what was made of it, and replaces what the encoder fails at (batches.py).
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


class Encodable(Protocol):
    """What many receivers get alike: `Shared` (batches.py)."""

    def encoded(self, encoder: Encoder) -> list[bytes]:
        """What `encode_events` or `encode_push` makes of each message, in order.

        An event that the encoder fails at is replaced, a push is left out.
        """


class Encoder(Protocol):
    """Writes what the server sends, in one codec or dialect.

    A batch keeps what an instance made of it, so there is one for all receivers. It may fail with
    any of CANNOT (unreadable.py) where its form cannot hold something. An outbox counts
    FRAME_OVERHEAD (publications.py) for what it puts around an event, whatever it is.
    """

    def encode(self, message: msgspec.Struct) -> bytes:
        """Write one message, for one receiver."""

    def encode_events(self, events: Sequence[Publication]) -> list[bytes]:
        """Write `event` pushes of one conversation and epoch, without parsing if it can.

        As many as it likes: a dialect may have no word for an event, or several.
        """

    def encode_push(self, push: JsonText) -> bytes:
        """Write a push that is not in the log and is finished as JSON."""

    def encode_batch(self, batch: Encodable) -> bytes:
        """Join what `batch.encoded(self)` has, ready to be written to every receiver."""


class FrameEncoder(Encoder, Protocol):
    """One whose messages are the payloads of WebSocket frames."""

    codec: CodecName
    is_text: bool

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

    def encode_events(self, events: Sequence[Publication]) -> list[bytes]:
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

    def encode_push(self, push: JsonText) -> bytes:
        """Write a finished push."""
        return push.data

    def encode_batch(self, batch: Encodable) -> bytes:
        """Join the frames."""
        return b"".join([self.frame(payload) for payload in batch.encoded(self)])


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

    def encode_events(self, events: Sequence[Publication]) -> list[bytes]:
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

    def encode_push(self, push: JsonText) -> bytes:
        """Write a finished push."""
        return self._encoder.encode(push.value())

    def encode_batch(self, batch: Encodable) -> bytes:
        """Join the frames."""
        return b"".join([self.frame(payload) for payload in batch.encoded(self)])


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
