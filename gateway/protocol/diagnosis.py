"""What is wrong with a message, in words for the developer who sent it; no I/O.

Unknown fields are ignored, so that a newer client may say more. One whose name is almost that of a
field left out is probably that field, misspelt: `conversation` for `conversation_id` in
`send_message` begins a new conversation. The message is still carried out as it stands, since the
protocol says so, and the client is told.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.inspect import (
    CollectionType,
    DictType,
    EnumType,
    LiteralType,
    Metadata,
    StructType,
    Type,
    UnionType,
    type_info,
)

from gateway.protocol.messages import SUBJECT_PATTERN, TITLE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.protocol.messages import Request

LIKENESS: Final = 0.7  # difflib's ratio: `agents` and `agent` have 0.91, `agent_id` 0.83
MAX_UNKNOWN: Final = 4  # fields of one message that are compared, and …
MAX_NAME: Final = 32  # … how long their names may be: comparing takes 20 µs
_MISSING = "Object missing required field `"
_STEPS = re.compile(r"\[[^]]*\]|[^.[]+")  # `[...]`, `[0]` or a name
_BAD_ENUM = "Invalid enum value"


class Misspelling(msgspec.Struct, frozen=True):
    """A field that was ignored, and the field of the same message that it is probably meant as."""

    request: str
    field: str
    meant: str

    def __str__(self) -> str:
        return f"$.{self.field} of {self.request} is unknown; did you mean {self.meant}?"


def may_lack_fields(kind: type[Request]) -> bool:
    """Whether a message of this type may lack a field, its `id` apart."""
    return any(not field.required for field in msgspec.structs.fields(kind) if field.name != "id")


def misspelling(kind: type[Request], given: Iterable[str]) -> Misspelling | None:
    """Find an unknown field that is almost one of `kind` that was left out.

    Args:
        kind: the type of the message.
        given: the names of all fields that came.
    """
    names, fields = set(given), set(kind.__struct_encode_fields__)
    absent = tuple(sorted(fields - names))
    unknown = sorted(name for name in names - fields - {"type"} if len(name) <= MAX_NAME)
    for name in unknown[:MAX_UNKNOWN]:
        if (meant := _nearest(name, absent)) is not None:
            return Misspelling(str(kind.__struct_config__.tag), name, meant)
    return None


_IDENTIFIER = "must be 1 to 64 letters, digits, '_' or '-'"
_TOLD = {
    repr(SUBJECT_PATTERN): "must be printable, and not begin with 'agent:'",
    repr(TITLE_PATTERN): "must hold no control or direction characters",
}


def problem(exc: msgspec.ValidationError, kind: type[Request] | None) -> str:
    """Say what does not fit and where: `$.limit: Expected …`.

    Args:
        exc: what msgspec says.
        kind: the type of the message, if it is known.
    """
    text, _, path = str(exc).partition(" - at `")
    path = path.removeprefix("key` in `").rstrip("`") or "$"
    if "matching regex" in text:
        text = next((told for pattern, told in _TOLD.items() if pattern in text), _IDENTIFIER)
    elif text.startswith(_MISSING):
        path, text = f"{path}.{text.removeprefix(_MISSING).rstrip('`')}", "missing"
    elif text.startswith(_BAD_ENUM) and kind is not None and (choices := _choices(kind, path)):
        text = f"must be one of {', '.join(choices)}"
    return f"{path}: {text}"


@lru_cache(maxsize=1024)
def _nearest(name: str, absent: tuple[str, ...]) -> str | None:
    plain = {_plain(each): each for each in absent}
    found = get_close_matches(_plain(name), plain, n=1, cutoff=LIKENESS)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    """`conversationId`, `conversation-id` and `conversation_id` are alike."""
    return name.lower().replace("_", "").replace("-", "")


def _choices(kind: type[Request], path: str) -> list[str]:
    """The values that the field at `path` (`$.roles[...].role`) may have."""
    types: list[Type] = [type_info(kind)]
    for step in _STEPS.findall(path.removeprefix("$")):
        types = [inner for each in _alternatives(types) for inner in _at(each, step)]
    found: list[str] = []
    for each in _alternatives(types):
        if isinstance(each, LiteralType):
            found += map(str, each.values)
        elif isinstance(each, EnumType):
            found += [str(member.value) for member in each.cls]
    return found


def _alternatives(types: Iterable[Type]) -> Iterator[Type]:
    for each in types:
        if isinstance(each, UnionType):
            yield from _alternatives(each.types)
        elif isinstance(each, Metadata):
            yield from _alternatives([each.type])
        else:
            yield each


def _at(outer: Type, step: str) -> Iterator[Type]:
    if isinstance(outer, StructType):
        yield from (field.type for field in outer.fields if field.encode_name == step)
    elif isinstance(outer, DictType):
        yield outer.value_type
    elif isinstance(outer, CollectionType):
        yield outer.item_type
