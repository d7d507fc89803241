"""Inputs: bytes without any form, and good ones that were damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MANGLED = st.lists(
    st.tuples(
        st.sampled_from(["drop", "double", "replace", "insert", "cut"]),
        st.integers(0, 2**16),
        st.binary(min_size=1, max_size=8),
    ),
    max_size=4,
)


def damaged(good: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Good bytes with up to four faults, or none."""
    return st.builds(_damage, good, MANGLED)


def chunks_of(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data as a socket may give it."""
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [chunk for chunk in (*chunks, data[at:]) if chunk]


def _damage(data: bytes, faults: list[tuple[str, int, bytes]]) -> bytes:
    for kind, where, some in faults:
        at = where % (len(data) + 1)
        match kind:
            case "drop":
                data = data[:at] + data[at + len(some) :]
            case "double":
                data = data[:at] + data[at : at + 16] * 2 + data[at + 16 :]
            case "replace":
                data = data[:at] + some + data[at + len(some) :]
            case "insert":
                data = data[:at] + some + data[at:]
            case "cut":
                data = data[:at]
    return data


sizes = st.lists(st.integers(1, 40), max_size=60)
anything = st.binary(max_size=400)
# Any text that a JSON string can hold, halves of surrogate pairs and NUL too.
any_text = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=40)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
