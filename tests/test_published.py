"""An event as it goes out."""

from __future__ import annotations

import pytest

from gateway.json_text import JsonText
from gateway.published import Published


def published(event: object) -> Published:
    """Return an event at offset 5."""
    return Published("c_1", "x1", 5, JsonText.of(event))


def test_a_frame_is_built_once_and_shared_by_all_receivers() -> None:
    """The same object, a codec."""
    event = published({"type": "MESSAGE_CREATED"})
    assert event.frame("json") is event.frame("json")
    assert event.frame("msgpack") is event.frame("msgpack")
    assert event.frame("json") != event.frame("msgpack")


@pytest.mark.parametrize("text", ["", "a" * 1000, "ä" * 1000])
def test_size_is_no_less_than_a_frame_takes(text: str) -> None:
    """What is bounded by it is bounded in frames."""
    event = Published("c_" + "a" * 18, "epoch-01", 2**53, JsonText.of({"delta": text}))
    assert event.size >= len(event.frame("json"))
    assert event.size >= len(event.frame("msgpack"))


def test_the_leaver_is_known_only_from_an_event_of_leaving() -> None:
    """Whoever else may be named in others."""
    assert published({"type": "PARTICIPANT_LEFT", "subject": "bob"}).leaver == "bob"
    assert published({"type": "PARTICIPANT_JOINED", "subject": "bob"}).leaver is None
    said = {"type": "MESSAGE_CREATED", "message": {"content": '{"type":"PARTICIPANT_LEFT"'}}
    assert published(said).leaver is None
