"""An encoder that the gateway does not have: server-sent events, as a test needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.protocol.encoders import ENCODERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from gateway.protocol.encoders import Encodable
    from gateway.protocol.json_text import JsonText
    from gateway.protocol.publications import Publication


class SseEncoder:
    """Each message a block of `text/event-stream`; the log's are named by their position.

    It fails at an event with CANNOT in it.
    """

    CANNOT = b"no form for this"

    def __init__(self) -> None:
        self.batches_made = 0

    def encode(self, message: msgspec.Struct) -> bytes:
        """Write one message."""
        return b"data: %b\n\n" % ENCODERS["json"].encode(message)

    def encode_events(self, events: Sequence[Publication]) -> list[bytes]:
        """Write events; one of nobody's concern is left out."""
        if any(self.CANNOT in event.event.data for event in events):
            raise ValueError("no form for this")
        return [
            b"id: %b.%d\ndata: %b\n\n" % (event.epoch.encode(), event.offset, event.event.data)
            for event in events
            if b'"CONVERSATION_CREATED"' not in event.event.data
        ]

    def encode_push(self, push: JsonText) -> bytes:
        """Write a push."""
        return b"data: %b\n\n" % push.data

    def encode_batch(self, batch: Encodable) -> bytes:
        """Join the blocks."""
        self.batches_made += 1
        return b"".join(batch.encoded(self))
