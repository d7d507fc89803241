"""What a conversation's channel carries: live copies of its events, and whispers."""

from __future__ import annotations

import msgspec

from gateway.protocol.publications import Publication
from gateway.store.cuts import published

MAX_OFFSET = 2**53  # exact in Lua and in JavaScript (gateway/protocol/messages.py, Offset)
_NO_OFFSET = "no offset that a log can have"


def parse_live(conversation_id: str, payload: bytes) -> list[Publication]:
    """Read the live copy of one event or of several, in order (lua/prelude.lua tells its form).

    Raises:
        ValueError: it is not of that form.
    """
    if payload[0] == _ONE:
        _, of, at, entry = payload.split(b":", 3)
        offset = int(at)
        if not 0 < offset < MAX_OFFSET:
            raise ValueError(_NO_OFFSET)
        return [published(conversation_id, of.decode(), offset, entry)]
    _, of, first, sizes, rest = payload.split(b":", 4)
    lengths = [int(size) for size in sizes.split(b",")]
    if min(lengths) < 0 or sum(lengths) != len(rest):
        raise ValueError("the entries do not have the stated length")
    epoch, offset, begin, found = of.decode(), int(first), 0, list[Publication]()
    if not 0 < offset < MAX_OFFSET:
        raise ValueError(_NO_OFFSET)
    for length in lengths:
        end = begin + length
        found.append(published(conversation_id, epoch, offset, rest[begin:end]))
        begin, offset = end, offset + 1
    return found


_ONE = ord("e")


def whisper(connection_id: str, push: msgspec.Struct) -> bytes:
    """What the channel carries for something that is not in the log."""
    return b"w:" + connection_id.encode() + b":" + msgspec.json.encode(push)
