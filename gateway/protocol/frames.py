"""WebSocket frames as a server writes them: whole, unmasked (RFC 6455 section 5.2).

A frame depends on its payload only, so one that is built once is the same bytes for every receiver,
and several frames joined are several messages in one write.
"""

from __future__ import annotations

import struct

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA
FIN = 0x80

SHORT_BYTES = 125  # the longest payload whose length is in the header's second byte
LENGTH_16 = 126  # there: the length follows in 2 bytes
LENGTH_64 = 127  # there: in 8 bytes
MAX_16 = 0xFFFF  # the longest payload whose length is in 2 bytes
MAX_REASON_BYTES = SHORT_BYTES - 2  # section 5.5: a control frame is short; the code comes first

_SHORT_TEXT = tuple(bytes((FIN | TEXT, size)) for size in range(SHORT_BYTES + 1))
_SHORT_BINARY = tuple(bytes((FIN | BINARY, size)) for size in range(SHORT_BYTES + 1))
_pack_16 = struct.Struct("!BBH").pack
_pack_64 = struct.Struct("!BBQ").pack


def text_frame(payload: bytes) -> bytes:
    """Return a whole text message; the payload is UTF-8, which is not checked."""
    size = len(payload)
    if SHORT_BYTES < size <= MAX_16:
        return _pack_16(FIN | TEXT, LENGTH_16, size) + payload
    return (_SHORT_TEXT[size] if size <= SHORT_BYTES else _head(TEXT, size)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return a whole binary message."""
    size = len(payload)
    return (_SHORT_BINARY[size] if size <= SHORT_BYTES else _head(BINARY, size)) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping with this payload, of SHORT_BYTES at the most."""
    return bytes((FIN | PONG, len(payload))) + payload


def close_frame(payload: bytes) -> bytes:
    """Return a close frame with a payload of `close_payload`, or with the peer's own."""
    return bytes((FIN | CLOSE, len(payload))) + payload


def close_payload(code: int, reason: str) -> bytes:
    """Return code and reason as a close frame holds them; a long reason is cut at a character."""
    encoded = reason.encode()
    if len(encoded) > MAX_REASON_BYTES:
        encoded = encoded[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + encoded


def _head(opcode: int, size: int) -> bytes:
    if size <= MAX_16:
        return _pack_16(FIN | opcode, LENGTH_16, size)
    return _pack_64(FIN | opcode, LENGTH_64, size)
