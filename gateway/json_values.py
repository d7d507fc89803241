"""Checks of the user's own JSON, so that what one codec takes the other can give."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gateway.errors import BadRequest
from gateway.json_text import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

INT_MIN, INT_MAX = -(2**63), 2**64 - 1  # what MessagePack can hold


def check_json(value: object, path: str, *, max_depth: int) -> None:
    """Refuse what is not JSON that both codecs can carry.

    Args:
        value: what a decoder made of the frame.
        path: where it stands, like `$.content`.
        max_depth: how many levels of lists and maps it may have.

    Raises:
        BadRequest: bytes, timestamps, extension types, keys that are not strings, NaN, infinities,
            integers beyond 64 bits, or too many levels; names the place.
    """
    todo = [(value, path, 1)]
    while todo:
        item, where, depth = todo.pop()
        if isinstance(item, dict | list | tuple):
            if depth > max_depth:
                raise BadRequest(f"{path}: nested deeper than {max_depth} levels")
            todo.extend((child, at, depth + 1) for child, at in _children(item, where))
        else:
            _check_scalar(item, where)


def whole_json(value: object) -> object:
    """A copy in which each text, and each key, is as UTF-8 can hold it (`whole`)."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole_json(key): whole_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [whole_json(child) for child in value]
    return value


def _children(
    item: dict[object, object] | list[object] | tuple[object, ...], where: str
) -> Iterator[tuple[object, str]]:
    if isinstance(item, list | tuple):
        yield from ((child, f"{where}[{index}]") for index, child in enumerate(item))
        return
    for key, child in item.items():
        if not isinstance(key, str):
            raise BadRequest(f"{where}: a key is not a string")
        yield child, f"{where}.{key[:64]}"


def _check_scalar(item: object, where: str) -> None:
    if isinstance(item, str | bool) or item is None:
        return
    if isinstance(item, int):
        if not INT_MIN <= item <= INT_MAX:
            raise BadRequest(f"{where}: an integer beyond 64 bits")
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise BadRequest(f"{where}: not a finite number")
    else:
        raise BadRequest(f"{where}: not a JSON value")
