"""Events as they go out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.protocol.batches import Batch, batches
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.publications import FRAME_OVERHEAD, Publication

if TYPE_CHECKING:
    from gateway.protocol.decoder import CodecName


def published(event: object) -> Publication:
    """Return an event at offset 5."""
    return Publication("c_1", "x1", 5, JsonText.of(event))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_batch_is_encoded_and_joined_once_for_all_receivers(codec: CodecName) -> None:
    """The same object, a codec; frame after frame, as each payload would be framed alone."""
    batch = Batch([published({"n": 1}), Publication("c_1", "x1", 6, JsonText.of({"n": 2}))])
    encoder = ENCODERS[codec]
    assert batch.wire(encoder) is batch.wire(encoder)
    assert batch.payloads(encoder) is batch.payloads(encoder)
    assert batch.wire(encoder) == b"".join(map(encoder.frame, batch.payloads(encoder)))
    assert len(batch.payloads(encoder)) == 2


def test_codecs_do_not_share_what_they_make() -> None:
    """A client gets what it negotiated."""
    batch = Batch([published({"n": 1})])
    assert batch.wire(ENCODERS["json"]) != batch.wire(ENCODERS["msgpack"])
    assert batch.payloads(ENCODERS["json"]) != batch.payloads(ENCODERS["msgpack"])


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("text", ["", "a" * 1000, "ä" * 1000])
def test_size_is_no_less_than_a_frame_takes(codec: CodecName, text: str) -> None:
    """What is bounded by it is bounded in frames."""
    event = Publication("c_" + "a" * 18, "epoch-01", 2**53, JsonText.of({"delta": text}))
    assert event.size >= len(Batch([event]).wire(ENCODERS[codec]))


def sized(*sizes: int) -> list[Publication]:
    """Return adjacent events whose frames count for so many bytes."""
    return [
        Publication("c_1", "x", n, JsonText(b"x" * (size - FRAME_OVERHEAD)))
        for n, size in enumerate(sizes, 1)
    ]


def cut(events: list[Publication], max_bytes: int) -> list[list[int]]:
    """Return the offsets in each batch."""
    found = batches(events, max_bytes=max_bytes)
    return [[event.offset for event in batch.events] for batch in found]


def test_events_are_cut_into_batches_of_a_size() -> None:
    """One that is larger than all has its own."""
    assert cut(sized(200, 200, 200, 900, 200), 400) == [[1, 2], [3], [4], [5]]
    assert cut([], 400) == []


def test_a_batch_ends_when_somebody_leaves() -> None:
    """They are sent nothing that follows."""
    left = JsonText.of({"type": "PARTICIPANT_LEFT", "subject": "bob"})
    said = JsonText.of({"type": "MESSAGE_CREATED"})
    events = [Publication("c_1", "x", n, e) for n, e in enumerate([said, left, said], 1)]
    assert cut(events, 10_000) == [[1, 2], [3]]
    assert Batch(events).is_from_log_only("bob")
    assert not Batch(events).is_from_log_only("alice")


def test_the_leaver_is_known_only_from_an_event_of_leaving() -> None:
    """Whoever else may be named in others."""
    assert published({"type": "PARTICIPANT_LEFT", "subject": "bob"}).leaver == "bob"
    assert published({"type": "PARTICIPANT_JOINED", "subject": "bob"}).leaver is None
    said = {"type": "MESSAGE_CREATED", "message": {"content": '{"type":"PARTICIPANT_LEFT"'}}
    assert published(said).leaver is None
