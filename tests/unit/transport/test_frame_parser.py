"""The parser of frames against that of the `websockets` package, and rule by rule of RFC 6455."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from gateway.transport.websocket.frame_parser import (
    FRAMES_AT_ONCE,
    MIN_MAX_FRAGMENTS,
    NO_CODE,
    FrameParser,
    Violation,
    max_fragments,
)

MAX_BYTES = 2_048
MASK = b"\x37\xfa\x21\x3d"


class Recorder(FrameParser):
    """A parser that is its own receiver, and remembers what it gave."""

    def __init__(self, *, pause_after=None):
        super().__init__(self, MAX_BYTES)
        self.messages, self.pings, self.closed, self.failed = [], [], None, None
        self.pause_after, self.counts = pause_after, []
        self._is_reading = True

    def message(self, data):
        """Take a message; pause after so many."""
        self.messages.append(data)
        if self.pause_after is not None and len(self.messages) % self.pause_after == 0:
            self._is_reading = False

    def other_frames(self, count):
        """Never called: this is the connection too."""

    def writing_resumed(self):
        """Do nothing."""

    def writing_stalled(self):
        """Do nothing."""

    def ended(self):
        """Do nothing."""

    def _pinged(self, payload):
        self.pings.append(payload)

    def _parsed_others(self, count):
        self.counts.append(count)

    def _peer_closed(self, _, code, reason):
        self.closed = code, reason
        self._is_reading, self._is_over = False, True

    def feed(self, data):
        """Parse; keep a violation."""
        if self.failed is None and not self._is_over:
            try:
                self._parse_new(data)
            except Violation as violation:
                self.failed, self._is_over = violation.code, True

    def resume(self):
        """Parse on."""
        self._is_reading, self._must_rest = True, False
        try:
            self._parse_on()
        except Violation as violation:
            self.failed, self._is_over = violation.code, True


def frame(opcode, payload=b"", *, fin=True, rsv=0, masked=True, mask=MASK):
    """Return a frame as a client sends it."""
    size, bit = len(payload), 0x80 * masked
    if size < 126:
        length = struct.pack("!B", bit | size)
    elif size < 65_536:
        length = struct.pack("!BH", bit | 126, size)
    else:
        length = struct.pack("!BQ", bit | 127, size)
    body = mask + bytes(b ^ mask[n % 4] for n, b in enumerate(payload)) if masked else payload
    return bytes([0x80 * fin | rsv << 4 | opcode]) + length + body


def parsed(*chunks):
    """Return a parser that was fed these chunks."""
    parser = Recorder()
    for chunk in chunks:
        parser.feed(chunk)
    return parser


def outcome(parser):
    """Return all that a parser gave."""
    return parser.messages, parser.pings, parser.closed, parser.failed


def as_websockets_does(data):
    """Return what the `websockets` package finds; text is not decoded there, but here."""
    server = ServerProtocol(state=OPEN, max_size=MAX_BYTES)
    server.receive_data(data)
    expected = Recorder()
    kind, parts = None, b""
    for event in server.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.PING:
            expected.pings.append(bytes(event.data))
        elif event.opcode is Opcode.CLOSE:
            close = server.close_rcvd
            expected.closed = close.code, close.reason
        elif event.opcode is not Opcode.PONG:
            kind = event.opcode if event.opcode is not Opcode.CONT else kind
            parts += event.data
            if event.fin:
                try:
                    message = parts.decode() if kind is Opcode.TEXT else parts
                except UnicodeDecodeError:
                    expected.failed = 1007
                    return outcome(expected)
                expected.messages.append(message)
                parts = b""
    if str(server.parser_exc) == "incomplete fragmented message":  # which section 5.4 allows
        expected.closed = server.close_rcvd.code, server.close_rcvd.reason
    elif server.parser_exc is not None:
        expected.failed, expected.closed = server.close_sent.code, None
    return outcome(expected)


payloads = st.binary(max_size=130) | st.text(max_size=60).map(str.encode)
codes = st.integers(0, 65_535) | st.sampled_from([1000, 1001, 3000, 4999])
closes = st.builds(
    lambda code, reason: code.to_bytes(2, "big") + reason, codes, payloads.map(lambda p: p[:123])
)
frames = st.one_of(
    st.builds(frame, st.sampled_from([1, 2]), payloads),
    st.builds(frame, st.sampled_from([0, 1, 2]), payloads, fin=st.booleans()),
    st.builds(frame, st.sampled_from([9, 10]), payloads.map(lambda p: p[:125])),
    st.builds(frame, st.just(8), st.just(b"") | st.binary(max_size=1) | closes),
    st.builds(
        frame,
        st.integers(0, 15),
        payloads,
        fin=st.booleans(),
        rsv=st.sampled_from([0, 0, 0, 1, 2, 4]),
        masked=st.sampled_from([True, True, True, False]),
    ),
    st.builds(frame, st.just(2), st.sampled_from([2_047, 2_048, 2_049]).map(bytes)),
)
streams = st.lists(frames, max_size=12).map(b"".join)


BOTH_RULES = {1002, 1009}  # RFC 6455 section 7.4.1: protocol error, message too big


@given(streams)
def test_any_stream_means_what_it_means_to_websockets(data):
    """The same messages, pings and close, and a failure at the same place.

    A frame that breaks two rules at once, one of them by its size, may fail for either.
    """
    *ours, our_failure = outcome(parsed(data))
    *theirs, their_failure = as_websockets_does(data)
    assert ours == theirs
    assert our_failure == their_failure or {our_failure, their_failure} == BOTH_RULES


@given(streams, st.lists(st.integers(1, 40), max_size=60))
def test_chunks_make_no_difference(data, sizes):
    """However the socket cuts the stream."""
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    assert outcome(parsed(*chunks, data[at:])) == outcome(parsed(data))


@given(st.lists(payloads, max_size=20), st.integers(1, 4), st.booleans())
def test_pausing_loses_and_reorders_nothing(bodies, pause_after, is_whole):
    """Whether the rest had come already or comes in bytes while it is paused."""
    data = b"".join(frame(2, body) for body in bodies)
    parser = Recorder(pause_after=pause_after)
    chunks = [data] if is_whole else [data[n : n + 1] for n in range(len(data))]
    for chunk in chunks:
        parser.feed(chunk)
    assert len(parser.messages) <= pause_after
    while parser._unparsed is not None:
        before = len(parser.messages)
        parser.resume()
        assert before < len(parser.messages) <= before + pause_after
    assert parser.messages == bodies


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 2_047, 2_048])
def test_every_length_is_parsed_whole_and_byte_by_byte(size):
    """A frame is given when its last byte has come, and not before."""
    data = frame(1, b"t" * size)
    assert parsed(data).messages == ["t" * size]
    parser = Recorder()
    for n in range(len(data) - 1):
        parser.feed(data[n : n + 1])
    assert parser.messages == []
    parser.feed(data[-1:])
    assert parser.messages == ["t" * size]
    assert parser._unparsed is None


def test_a_length_need_not_be_as_short_as_it_can_be():
    """RFC 6455 section 5.2 demands it of the sender; nobody refuses it."""
    longer = b"\x82\xfe\x00\x01" + MASK + bytes([0x78 ^ MASK[0]])
    longest = b"\x82\xff" + (1).to_bytes(8, "big") + MASK + bytes([0x78 ^ MASK[0]])
    assert parsed(longer + longest).messages == [b"x", b"x"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\xfe\x08\x01" + MASK, 1009),
        (b"\x82\xff\x7f" + b"\xff" * 7 + MASK, 1009),
        (b"\x82\xff" + b"\xff" * 8 + MASK, 1009),
        (frame(2, bytes(1_500), fin=False) + b"\x80\xfe\x02\x25" + MASK, 1009),
        (b"\x89\xfe", 1002),
        (b"\x81\x05", 1002),
        (b"\xc1\x80", 1002),
        (b"\x09\x80", 1002),
        (b"\x80\x80", 1002),
        (b"\x83\x80", 1002),
    ],
)
def test_a_bad_head_fails_before_its_payload_comes(data, code):
    """So that nothing is kept for it."""
    assert parsed(data).failed == code


def test_a_large_frame_is_looked_at_once_it_is_whole():
    """Not at each of its bytes: a client that sends them one by one would cost their square."""
    data = frame(2, bytes(2_000))
    parser = parsed(data[:10])
    assert parser._needed_bytes == len(data)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
def test_a_code_that_nobody_may_send_fails(code):
    """RFC 6455 section 7.4."""
    assert parsed(frame(8, code.to_bytes(2, "big"))).failed == 1002


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 4999])
def test_a_code_that_may_be_sent_is_told(code):
    """With its reason."""
    data = frame(8, code.to_bytes(2, "big") + "é".encode())
    assert parsed(data).closed == (code, "é")


def test_what_is_no_message_is_counted_and_rests():
    """Pings, pongs and fragments, of which none may have a byte; messages are not."""
    others = [frame(9), frame(10), frame(1, fin=False), frame(0, fin=False), frame(9), frame(0)]
    parser = parsed(b"".join([*others, frame(1), frame(2)]))
    assert parser.counts == [6]
    parser = parsed(frame(9) * (2 * FRAMES_AT_ONCE) + frame(1, b"x") + frame(10))
    assert (parser.counts, parser._must_rest) == ([FRAMES_AT_ONCE], True)
    parser.feed(frame(1, b"y"))  # it waits like all else
    assert parser.messages == []
    parser.resume()
    assert (parser.counts, parser._must_rest) == ([FRAMES_AT_ONCE] * 2, True)
    assert parser.messages == ["x"]
    parser.resume()
    assert (parser.counts, parser._must_rest) == ([FRAMES_AT_ONCE] * 2 + [1], False)
    assert parser.messages == ["x", "y"]


def test_the_fragments_of_a_message_are_bounded():
    """1009: they may be empty, so that no limit of bytes stops them."""
    most = MIN_MAX_FRAGMENTS - 2
    largest = frame(1, fin=False) + frame(0, fin=False) * most + frame(0)
    assert parsed(largest).messages == [""]
    assert parsed(frame(1, fin=False) + frame(0, fin=False) * (most + 2)).failed == 1009
    assert max_fragments(262_144) == 4_096


def test_nothing_is_parsed_after_a_close():
    """Nor kept."""
    parser = parsed(frame(8) + frame(1, b"late") + b"\x81")
    assert (parser.closed, parser.messages) == ((NO_CODE, ""), [])
    assert parser._unparsed is None
