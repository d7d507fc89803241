"""A model: RFC 6902 and RFC 6901, as simple as they can be written."""

from __future__ import annotations

import copy


class Refused(Exception):  # that is all
    """The model refuses a patch."""


def path_of(pointer: object) -> list[str]:
    """RFC 6901 section 3."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise Refused
    parts = pointer.split("/")[1:]
    for part in parts:
        if "~" in part.replace("~0", "").replace("~1", ""):
            raise Refused
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def index_of(items: list, word: str, *, end: int) -> int:
    """RFC 6901 section 4: digits without a leading zero; up to `end`."""
    if not (word.isascii() and word.isdigit()) or (word[0] == "0" and word != "0"):
        raise Refused
    if int(word) > end:
        raise Refused
    return int(word)


def child(parent: object, word: str) -> object:
    """The value there."""
    if isinstance(parent, dict) and word in parent:
        return parent[word]
    if isinstance(parent, list):
        return parent[index_of(parent, word, end=len(parent) - 1)]
    raise Refused


def found(document: object, path: list[str]) -> object:
    """The value at a path."""
    for word in path:
        document = child(document, word)
    return document


def add(document: object, path: list[str], value: object) -> object:
    """Section 4.1; the new document."""
    if not path:
        return value
    parent, word = found(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[word] = value
    elif isinstance(parent, list):
        at = len(parent) if word == "-" else index_of(parent, word, end=len(parent))
        parent.insert(at, value)
    else:
        raise Refused
    return document


def remove(document: object, path: list[str]) -> object:
    """Section 4.2; the new document."""
    if not path:
        raise Refused
    parent, word = found(document, path[:-1]), path[-1]
    child(parent, word)
    del parent[word if isinstance(parent, dict) else int(word)]
    return document


def same(one: object, other: object) -> bool:
    """Section 4.6: numbers by their value, and true is no number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def replace(document: object, path: list[str], value: object) -> object:
    """Section 4.3; the new document."""
    found(document, path)
    return add(remove(document, path), path, value) if path else value


def move(document: object, source: list[str], path: list[str]) -> object:
    """Section 4.4; the new document."""
    value = copy.deepcopy(found(document, source))
    if path[: len(source)] == source and path != source:
        raise Refused
    return add(remove(document, source) if source else document, path, value)


def test(document: object, path: list[str], value: object) -> object:
    """Section 4.6; the document as it was."""
    if not same(found(document, path), value):
        raise Refused
    return document


WITH_VALUE = {"add": add, "replace": replace, "test": test}


def one_done(document: object, operation: dict) -> object:
    """Section 4; the new document."""
    op, path = operation["op"], path_of(operation["path"])
    if op in WITH_VALUE:
        return WITH_VALUE[op](document, path, copy.deepcopy(operation["value"]))
    if op == "remove":
        return remove(document, path)
    if op not in {"move", "copy"}:
        raise Refused
    source = path_of(operation["from"])
    if op == "move":
        return move(document, source, path)
    return add(document, path, copy.deepcopy(found(document, source)))


def model(document: object, patch: list) -> object:
    """Apply a patch as the RFC says; the old document is not changed."""
    document = copy.deepcopy(document)
    for operation in patch:
        try:
            document = one_done(document, operation)
        except (KeyError, TypeError) as exc:
            raise Refused from exc
    return document
