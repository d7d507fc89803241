"""Checks of the user's own JSON: that both codecs can carry it, and that it is of bounded work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from gateway.errors import BadRequest, TooLarge
from gateway.protocol.json_text import whole

if TYPE_CHECKING:
    from collections.abc import Iterable

INT_MIN, INT_MAX = -(2**63), 2**64 - 1  # what MessagePack can hold
MAX_NODES = 20_000  # values and keys' values in one field, unless a setting says otherwise
MAX_KEY_CHARS = 1024  # of one key of a map
_MAX_PATH_CHARS = 200  # of a place that an error names; longer ones lose their middle
_SHOWN_KEY_CHARS = 64
_CONTAINERS = (dict, list, tuple)
_PLAIN = frozenset({str, bool, type(None)})  # which may hold anything

# Where a value stands: where its list or map does, and its key or index in it. The text of the path
# is built for an error only.
_Place: TypeAlias = "tuple[_Place | None, str | int]"


def check_json(value: object, path: str, *, max_depth: int, max_nodes: int = MAX_NODES) -> int:
    """Refuse what is not JSON that both codecs can carry, or takes too much work.

    A list or map that is too long is refused before it is walked through.

    Args:
        value: what a decoder made of the frame.
        path: where it stands, like `$.content`.
        max_depth: how many levels of lists and maps it may have.
        max_nodes: of how many values it may be made, itself and all inside it.

    Returns:
        Of how many values it is made.

    Raises:
        BadRequest: bytes, timestamps, extension types, keys that are not strings or too long, NaN,
            infinities, integers beyond 64 bits, or too many levels; names the place.
        TooLarge: too many values.
    """
    nodes = 1
    todo: list[tuple[object, int, _Place | None]] = [(value, 1, None)]
    while todo:
        item, depth, place = todo.pop()
        if not isinstance(item, _CONTAINERS):
            _check_scalar(item, path, place)
            continue
        if depth > max_depth:
            raise BadRequest(f"{path}: nested deeper than {max_depth} levels")
        nodes += len(item)
        if nodes > max_nodes:
            raise TooLarge(f"{path}: has more than {max_nodes} values")
        for key, child in _members(item, path, place):
            kind = type(child)  # most need no other look, which would take ten times as long
            if kind in _PLAIN or (kind is int and INT_MIN <= child <= INT_MAX):
                continue
            if (kind is float and math.isfinite(child)) or (
                not child and kind in _CONTAINERS and depth < max_depth
            ):
                continue
            todo.append((child, depth + 1, (place, key)))
    return nodes


def whole_json(value: object) -> object:
    """A copy in which each text, and each key, is as UTF-8 can hold it (`whole`)."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole_json(key): whole_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [whole_json(child) for child in value]
    return value


def shown_path(path: str, keys: Iterable[str | int]) -> str:
    """A place in JSON as an error names it: `$.content[0].text`, the middle left out if long."""
    text = path + "".join(
        f"[{key}]" if isinstance(key, int) else f".{key[:_SHOWN_KEY_CHARS]}" for key in keys
    )
    if len(text) <= _MAX_PATH_CHARS:
        return text
    half = _MAX_PATH_CHARS // 2
    return f"{text[:half]}…{text[-half:]}"


def _members(
    item: dict[str, object] | list[object] | tuple[object, ...], path: str, place: _Place | None
) -> Iterable[tuple[str | int, Any]]:
    if not isinstance(item, dict):
        return enumerate(item)
    for key in item:
        if not isinstance(key, str):
            raise BadRequest(f"{_named(path, place)}: a key is not a string")
        if len(key) > MAX_KEY_CHARS:
            raise BadRequest(
                f"{_named(path, place)}: a key is longer than {MAX_KEY_CHARS} characters"
            )
    return item.items()


def _named(path: str, place: _Place | None) -> str:
    keys: list[str | int] = []
    while place is not None:
        place, key = place
        keys.append(key)
    return shown_path(path, reversed(keys))


def _check_scalar(item: object, path: str, place: _Place | None) -> None:
    if isinstance(item, str | bool) or item is None:
        return
    if isinstance(item, int):
        if not INT_MIN <= item <= INT_MAX:
            raise BadRequest(f"{_named(path, place)}: an integer beyond 64 bits")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise BadRequest(f"{_named(path, place)}: not a finite number")
    else:
        raise BadRequest(f"{_named(path, place)}: not a JSON value")
