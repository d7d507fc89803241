"""Frames as a client sends them, parsed as they come: RFC 6455 section 5, without extensions.

Whole frames in one chunk of the socket are unmasked in C, which is their only copy, and given on.

Messages are counted by who receives them. Every other frame (ping, pong, close, fragment) is
counted here, since it may cost its sender no byte: after FRAMES_AT_ONCE of them the rest of the
chunk waits for another turn of the loop, and the receiver is told how many there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.protocol.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    LENGTH_16,
    LENGTH_64,
    PING,
    PONG,
    SHORT_BYTES,
    TEXT,
)

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform for which `websockets` has no binary
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from gateway.transport.control import Receiver

PROTOCOL_ERROR = 1002  # RFC 6455 section 7.4.1, all four
NO_CODE = 1005  # never sent: what is told when a close frame has no code
INVALID_TEXT = 1007
TOO_BIG = 1009
# Section 7.4.2 and IANA's registry: what may be sent.
CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})

CONTROL_BIT = 0x08
LENGTH_BITS = 0x7F
MASK_BIT = 0x80
MASK_BYTES = 4
HEAD_BYTES = 2 + MASK_BYTES  # of a frame up to SHORT_BYTES
FRAMES_AT_ONCE = 256  # other than messages: 0.4 ms; 256 KiB of empty pings took 60 ms at once
MIN_FRAGMENT_BYTES = 64  # on average, in the largest message; the suite of Autobahn sends such
MIN_MAX_FRAGMENTS = 64
WHOLE = frozenset({FIN | TEXT, FIN | BINARY})
BEGINNINGS = WHOLE | {TEXT, BINARY}
# The first bytes that may be: without reserved bits, with a known opcode, control frames whole.
FIRST_BYTES = BEGINNINGS | {CONTINUATION, FIN | CONTINUATION, FIN | CLOSE, FIN | PING, FIN | PONG}


class Violation(Exception):
    """The peer broke the protocol; the connection fails with this close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class FrameParser:
    """Parses what comes and gives whole messages to `_receiver`, while `_is_reading`.

    Held at most: one message being collected, and what is not parsed: a part of a frame, or one
    chunk of the socket if reading was paused within it. Its methods raise Violation.
    """

    __slots__ = (
        "_collected",
        "_fragments",
        "_is_over",
        "_is_parsing",
        "_is_reading",
        "_is_text",
        "_max_bytes",
        "_must_rest",
        "_needed_bytes",
        "_other_frames",
        "_receiver",
        "_unparsed",
    )

    def __init__(self, receiver: Receiver, max_bytes: int) -> None:
        self._receiver = receiver
        self._max_bytes = max_bytes  # of a message, with all its fragments
        self._fragments = 0  # of the message being collected
        self._other_frames = 0  # of this turn, that were no whole message
        self._must_rest = False  # the rest waits for another turn
        self._is_over = False  # nothing is parsed or kept any more
        self._is_reading = False
        self._is_parsing = False
        self._unparsed: bytearray | None = None
        self._needed_bytes = 0  # of what is not parsed, before it is worth another look
        self._collected: bytearray | None = None  # of a message in fragments
        self._is_text = False  # what is collected

    # --- what the connection does ---

    def _pinged(self, payload: bytes) -> None:
        raise NotImplementedError

    def _peer_closed(self, payload: bytes, code: int, reason: str) -> None:
        raise NotImplementedError

    def _parsed_others(self, count: int) -> None:
        """Frames that were no whole message have been parsed; called once a turn.

        If `_must_rest`, clear it in another turn of the loop, then `_parse_on`.
        """
        raise NotImplementedError

    # --- bytes to frames ---

    def _parse_new(self, data: bytes) -> None:
        """Parse what has come, after what was left over."""
        if self._unparsed is not None:
            self._unparsed += data
            self._parse_on()
        elif not self._is_reading:
            self._unparsed, self._needed_bytes = bytearray(data), 0
        else:
            if (parsed := self._parse(data)) < len(data) and not self._is_over:
                self._unparsed = bytearray(memoryview(data)[parsed:])
            if self._other_frames:
                self._parsed_others(self._other_frames)

    def _parse_on(self) -> None:
        """Parse what was left over, if there is enough of it to be a frame."""
        unparsed = self._unparsed
        if unparsed is None or not self._is_reading or self._must_rest:
            return
        if len(unparsed) < self._needed_bytes:
            return
        parsed = self._parse(unparsed)
        del unparsed[:parsed]  # moves nothing: a bytearray begins at an offset
        if not unparsed:
            self._unparsed = None
        if self._other_frames:
            self._parsed_others(self._other_frames)

    def _parse(self, data: bytes | bytearray) -> int:
        """Give on each frame that is whole; return how many bytes they took."""
        at, size = 0, len(data)
        self._is_parsing, self._needed_bytes, self._other_frames = True, 0, 0
        try:
            while self._is_reading and size - at > 1:
                first, second = data[at], data[at + 1]
                if first in WHOLE and self._collected is None:
                    begin, end = self._measure_whole(data, at, second - MASK_BIT)
                elif self._may_parse_other():
                    begin, end = self._measure(data, at)
                else:
                    break
                if end > size:
                    self._needed_bytes = end - at
                    break
                at = end
                self._give(first, apply_mask(data[begin:end], data[begin - MASK_BYTES : begin]))
        finally:
            self._is_parsing = False
        return at

    def _may_parse_other(self) -> bool:
        """Whether the next frame, no whole message, has its place in this turn."""
        self._must_rest = self._other_frames == FRAMES_AT_ONCE
        return not self._must_rest

    def _measure_whole(self, data: bytes | bytearray, at: int, length: int) -> tuple[int, int]:
        """Do as `_measure` for a whole message; `length` is what its second byte says."""
        begin = at + HEAD_BYTES
        if length == LENGTH_16 and at + 3 < len(data):
            length = data[at + 2] << 8 | data[at + 3]
            begin += 2
        elif length > SHORT_BYTES:
            return self._measure(data, at)
        if 0 <= length <= self._max_bytes:
            return begin, begin + length
        return self._measure(data, at)

    def _measure(self, data: bytes | bytearray, at: int) -> tuple[int, int]:
        """Check a frame's head; return where its payload begins and ends.

        Both are the end of the head if that is not whole yet.
        """
        first, second = data[at], data[at + 1]
        self._check(first, second)
        begin, length = at + HEAD_BYTES, second & LENGTH_BITS
        if length == LENGTH_16:
            begin += 2
        elif length == LENGTH_64:
            begin += 8
        if begin > len(data):
            return begin, begin
        if length > SHORT_BYTES:
            length = int.from_bytes(data[at + 2 : begin - MASK_BYTES], "big")
        held = 0 if self._collected is None or first & CONTROL_BIT else len(self._collected)
        if held + length > self._max_bytes:
            raise Violation(TOO_BIG, "message too big")
        return begin, begin + length

    def _check(self, first: int, second: int) -> None:
        """Refuse what RFC 6455 sections 5.1, 5.2, 5.4 and 5.5 forbid."""
        if first not in FIRST_BYTES:
            raise Violation(PROTOCOL_ERROR, "reserved bits or opcode, or a control frame in parts")
        if not second & MASK_BIT:
            raise Violation(PROTOCOL_ERROR, "not masked")
        if first & CONTROL_BIT:
            if second & LENGTH_BITS > SHORT_BYTES:
                raise Violation(PROTOCOL_ERROR, "control frame too long")
        elif (first in BEGINNINGS) is (self._collected is not None):
            raise Violation(PROTOCOL_ERROR, "fragments out of order")

    # --- frames to messages ---

    def _give(self, first: int, payload: bytes | bytearray) -> None:
        if first == FIN | TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError as exc:  # section 8.1
                raise Violation(INVALID_TEXT, "invalid UTF-8") from exc
            self._receiver.message(text)
        elif first == FIN | BINARY:
            self._receiver.message(bytes(payload))
        else:
            self._other_frames += 1
            self._give_other(first, payload)

    def _give_other(self, first: int, payload: bytes | bytearray) -> None:
        if first == FIN | PING:
            self._pinged(bytes(payload))
        elif first == FIN | CLOSE:
            self._peer_closed(bytes(payload), *close_of(payload))
        elif first != FIN | PONG:
            self._collect(first, payload)

    def _collect(self, first: int, payload: bytes | bytearray) -> None:
        """Keep a fragment; give the message with its last one."""
        if self._collected is None:
            self._is_text, self._fragments = first == TEXT, 1
            self._collected = bytearray(payload)
            return
        self._fragments += 1
        if self._fragments > max_fragments(self._max_bytes):
            raise Violation(TOO_BIG, "too many fragments")
        self._collected += payload
        if first & FIN:
            whole, self._collected = self._collected, None
            self._give(FIN | TEXT if self._is_text else FIN | BINARY, whole)


def max_fragments(max_bytes: int) -> int:
    """Return of how many frames a message may be made, if it has that many bytes at the most."""
    return max(MIN_MAX_FRAGMENTS, max_bytes // MIN_FRAGMENT_BYTES)


def close_of(payload: bytes | bytearray) -> tuple[int, str]:
    """Return code and reason of a close frame; NO_CODE if it has none.

    Raises:
        Violation: it has half a code, one that nobody may send, or a reason that is no text.
    """
    if not payload:
        return NO_CODE, ""
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError as exc:  # section 5.5.1
        raise Violation(INVALID_TEXT, "invalid UTF-8") from exc
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or code not in CLOSE_CODES:
        raise Violation(PROTOCOL_ERROR, "invalid close code")
    return code, reason
