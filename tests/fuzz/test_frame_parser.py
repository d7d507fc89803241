"""WebSocket frames: any bytes are messages, or a violation that RFC 6455 names."""

from __future__ import annotations

from hypothesis import given

from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import anything, chunks_of, damaged, sizes
from tests.unit.transport.test_frame_parser import (
    BOTH_RULES,
    MAX_BYTES,
    Recorder,
    as_websockets_does,
    outcome,
    parsed,
    streams,
)

CODES = {None, 1002, 1007, 1009}
HEAD_BYTES = 14  # the longest
wild = anything | damaged(streams) | streams


@fuzz
@given(wild)
def test_any_bytes_mean_what_they_mean_to_websockets(data: bytes) -> None:
    """The same messages, pings and close, and a failure at the same place and for one reason."""
    *ours, our_failure = outcome(parsed(data))
    *theirs, their_failure = as_websockets_does(data)
    if our_failure is not None and their_failure is None:  # a bad head is refused before its end
        *theirs, their_failure = as_websockets_does(data + bytes(MAX_BYTES + HEAD_BYTES))
    assert our_failure in CODES
    assert ours == theirs
    assert our_failure == their_failure or {our_failure, their_failure} == BOTH_RULES


@fuzz
@given(wild, sizes)
def test_chunks_make_no_difference(data: bytes, cuts: list[int]) -> None:
    """However the socket cuts the stream, also within a head."""
    assert outcome(parsed(*chunks_of(data, cuts))) == outcome(parsed(data))


@fuzz
@given(wild, sizes)
def test_what_is_held_is_bounded(data: bytes, cuts: list[int]) -> None:
    """One message being collected, and a part of a frame; no payload that is too long."""
    parser = Recorder()
    for chunk in chunks_of(data, cuts):
        parser.feed(chunk)
        if parser.failed is None and not parser._is_over:
            assert len(parser._unparsed or b"") < MAX_BYTES + HEAD_BYTES
            assert len(parser._collected or b"") <= MAX_BYTES
