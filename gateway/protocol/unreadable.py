"""Entries of a log that some consumer could not read: found, replaced, and logged once each.

A log may hold what no version of the gateway should have written: it is read by anything that can
write to Redis, and by versions that checked less. An entry that a client cannot take would close
its connection, and again each time that it comes back to the same place.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec
import structlog

from gateway.protocol.json_text import JsonText

if TYPE_CHECKING:
    from collections.abc import Sequence

# What is sent in its place, at the same epoch and offset (docs/protocol.md, The log).
PLACEHOLDER = JsonText(b'{"type":"CUSTOM","name":"unreadable_event","value":null}')
MAX_REMEMBERED = 1000  # entries that were logged; a replay of the same ones says nothing new
skim = msgspec.json.Decoder(msgspec.Raw).decode  # finds the end: 0.2 µs for 300 bytes
_TEXT = b'{"type":"TEXT_MESSAGE_CONTENT",'
_decode = msgspec.json.Decoder().decode
_pack = msgspec.msgpack.Encoder().encode
# What reading and writing JSON and MessagePack fails with: form, UTF-8, depth, numbers.
CANNOT = (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, ValueError, TypeError)
_log = structlog.get_logger(__name__)
_logged: OrderedDict[tuple[str, str, int], None] = OrderedDict()


def check_event(event: bytes) -> None:
    """See that an event can be read by clients of both codecs.

    Raises:
        One of CANNOT: it cannot.
    """
    if event.startswith(_TEXT):
        look_at(event)
        return
    value = _decode(event)
    _pack(value)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise TypeError("it is not an object with a type")


def look_at(text: bytes) -> None:
    """See that it is JSON in UTF-8; numbers and depth are not looked at.

    Enough for what scripts and the emitter write, which is nearly all of a log. What MessagePack
    cannot hold after all is replaced when it is encoded (gateway/protocol/publications.py).

    Raises:
        One of CANNOT: it is not.
    """
    skim(text)
    if not text.isascii():
        text.decode()


def messages_of(items: Sequence[bytes], conversation_id: str) -> list[JsonText]:
    """The messages of a page of history; one that could not be read is left out, as a deleted one.

    They are looked at together, which costs a tenth of a microsecond each.
    """
    present = [item for item in items if item]
    try:
        look_at(b"[%b]" % b",".join(present))
    except CANNOT:
        present = [item for item in present if _is_message(item, conversation_id)]
    return [JsonText(item) for item in present]


def _is_message(item: bytes, conversation_id: str) -> bool:
    try:
        look_at(item)
    except CANNOT as exc:
        problem = f"{type(exc).__name__}: {exc}"
        _log.error("message_unreadable", conversation_id=conversation_id, problem=problem)
        return False
    return True


def tell_unreadable(conversation_id: str, epoch: str, offset: int, problem: Exception) -> None:
    """Log an entry that was replaced, once."""
    key = (conversation_id, epoch, offset)
    if key in _logged:
        return
    _logged[key] = None
    if len(_logged) > MAX_REMEMBERED:
        _logged.popitem(last=False)
    _log.error(
        "event_unreadable",
        conversation_id=conversation_id,
        epoch=epoch,
        offset=offset,
        problem=f"{type(problem).__name__}: {problem}",
    )


def is_readable(text: JsonText) -> bool:
    """Whether a finished JSON value can be read by clients of both codecs."""
    try:
        _pack(text.value())
    except CANNOT:
        return False
    return True


def is_json(text: JsonText) -> bool:
    """Whether it is JSON at all: quicker."""
    try:
        look_at(text.data)
    except CANNOT:
        return False
    return True
