"""WebSocket frames (RFC 6455) as the generator writes and reads them.

The mask key of what it sends is zero (section 5.3 wants a key, not a good one): a frame is then
its header and the text as it is. Servers unmask it like any other.
"""

from __future__ import annotations

from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_FIN = 0x80
_ZERO_MASK = b"\0\0\0\0"


class Frame(NamedTuple):
    """A frame from a server."""

    opcode: int
    payload: bytes


def header(length: int, opcode: int = TEXT) -> bytes:
    """What stands before the `length` bytes of a client's frame."""
    first = _FIN | opcode
    if length < 126:  # noqa: PLR2004  # section 5.2
        return bytes((first, 0x80 | length)) + _ZERO_MASK
    if length < 1 << 16:
        return bytes((first, 0x80 | 126)) + length.to_bytes(2, "big") + _ZERO_MASK
    return bytes((first, 0x80 | 127)) + length.to_bytes(8, "big") + _ZERO_MASK


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A client's frame."""
    return header(len(payload), opcode) + payload


class FrameReader:
    """Takes a server's bytes apart. A message in several frames comes as one frame."""

    def __init__(self) -> None:
        self._buffer = b""
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._buffer = self._buffer + data if self._buffer else data

    def rest(self) -> bytes:
        """What is not read yet; it is not kept."""
        rest, self._buffer = self._buffer, b""
        return rest

    def next(self) -> Frame | None:
        """The next whole message or control frame."""
        while True:
            found = self._next_frame()
            if found is None:
                return None
            is_last, opcode, payload = found
            if opcode >= CLOSE:
                return Frame(opcode, payload)
            self._parts.append(payload)
            if is_last:
                whole = b"".join(self._parts)
                self._parts.clear()
                return Frame(opcode or TEXT, whole)

    def _next_frame(self) -> tuple[bool, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:  # noqa: PLR2004  # the shortest header
            return None
        start, length = 2, buffer[1] & 0x7F
        if length >= 126:  # noqa: PLR2004  # section 5.2
            start += 2 if length == 126 else 8  # noqa: PLR2004
            length = int.from_bytes(buffer[2:start], "big")
        end = start + length
        if len(buffer) < max(end, start):
            return None
        self._buffer = buffer[end:]
        return bool(buffer[0] & _FIN), buffer[0] & 0x0F, buffer[start:end]
