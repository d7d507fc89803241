"""JSON that is passed on as it is: stored once, spliced into every frame."""

from __future__ import annotations

from typing import Any

import msgspec

MAX_UTF8_BYTES = 4  # of a character
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class JsonText:
    """A finished JSON value as UTF-8 bytes.

    The JSON codec splices the bytes; the MessagePack codec decodes and encodes them. Nothing
    between Redis and the socket parses a message it only carries.
    """

    __slots__ = ("data",)  # a plain class: msgspec would write a dataclass as a map

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonText) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"JsonText({len(self.data)} bytes)"

    @classmethod
    def of(cls, value: object) -> JsonText:
        """Encode a plain value or a Struct."""
        return cls(msgspec.json.encode(value))

    def value(self) -> Any:  # the user's own JSON
        """Decode to plain Python values."""
        return _decode(self.data)


def whole(text: str) -> str:
    """The text as UTF-8 can hold it: halves of a surrogate pair that meet are one character.

    A half that stands alone becomes U+FFFD. Such halves come from JSON that was cut in the middle
    of an escaped pair, as some models' streams are.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def ends_in_half(text: str) -> bool:
    """Whether a text ends with the first half of a surrogate pair: the next one may complete it."""
    return "\ud800" <= text[-1:] <= "\udbff"


def exceeds(text: str, max_bytes: int) -> bool:
    """Whether a text takes more bytes of UTF-8; a short one is not encoded to know."""
    if len(text) * MAX_UTF8_BYTES <= max_bytes:
        return False
    return len(text.encode("utf-8", "surrogatepass")) > max_bytes


def json_bytes(text: str) -> int:
    """How many bytes a text has inside a JSON string; half a character counts as a whole one."""
    try:
        return len(_encode(text)) - 2
    except UnicodeEncodeError:
        return len(_encode(text.encode("utf-8", "replace").decode())) - 2
