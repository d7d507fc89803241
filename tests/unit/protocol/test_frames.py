"""Frames as a server writes them, read by a parser that is not ours."""

from __future__ import annotations

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from gateway.protocol.frames import binary_frame, close_frame, close_payload, pong_frame, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000]


def parsed(data: bytes) -> list[Frame]:
    """Return the frames that a client finds in these bytes."""
    client = ClientProtocol(parse_uri("ws://gateway/"), state=OPEN, max_size=None)
    client.receive_data(data)
    assert client.parser_exc is None
    return list(client.events_received())


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_every_size_are_whole_frames(size):
    """The length is written in 7, 16 or 64 bits."""
    assert parsed(text_frame(b"t" * size)) == [Frame(Opcode.TEXT, b"t" * size)]
    assert parsed(binary_frame(b"b" * size)) == [Frame(Opcode.BINARY, b"b" * size)]


@pytest.mark.parametrize("size", SIZES)
def test_a_header_is_as_short_as_it_can_be(size):
    """RFC 6455 section 5.2 demands the minimal number of bytes."""
    expected = 2 if size < 126 else 4 if size < 65_536 else 10
    assert len(text_frame(bytes(size))) == len(binary_frame(bytes(size))) == size + expected


def test_joined_frames_are_several_messages():
    """One write may hold them all."""
    joined = text_frame(b"one") + binary_frame(b"two") + text_frame(b"")
    assert [frame.data for frame in parsed(joined)] == [b"one", b"two", b""]


def test_control_frames_are_read_back():
    """A pong with its ping's payload, and a close with code and reason."""
    (pong,) = parsed(pong_frame(b"x" * 125))
    assert pong == Frame(Opcode.PONG, b"x" * 125)
    (close,) = parsed(close_frame(close_payload(4101, "draining")))
    assert Close.parse(close.data) == Close(4101, "draining")
    assert parsed(close_frame(b"")) == [Frame(Opcode.CLOSE, b"")]


def test_a_long_reason_is_cut_at_a_character():
    """125 bytes are all that a control frame holds."""
    payload = close_payload(1000, "é" * 100)
    assert len(payload) == 2 + 122
    assert payload[2:].decode() == "é" * 61
