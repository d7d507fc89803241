"""Frames to messages and back, by codecs that are not the gateway's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from websockets.typing import Data

SUBPROTOCOLS = {"json": "gateway.v1.json", "msgpack": "gateway.v1.msgpack"}


def encode(message: object, codec: str) -> Data:
    """Return the frame of a message or of a batch."""
    if codec == "json":
        return json.dumps(message, ensure_ascii=False)
    packed: bytes = msgpack.packb(message)
    return packed


def decode(frame: Data) -> Any:
    """Return what a frame holds.

    Raises:
        ValueError: it is not what the codec allows; NaN and repeated names included.
    """
    if isinstance(frame, str):
        return json.loads(frame, parse_constant=_no_constant, object_pairs_hook=_no_repeat)
    return msgpack.unpackb(frame, strict_map_key=True)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON (RFC 8259 section 6)")


def _no_repeat(pairs: list[tuple[str, object]]) -> dict[str, object]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return decoded
