"""What of the user's JSON both codecs can carry."""

from __future__ import annotations

import math
import sys
import tracemalloc
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, TooLarge
from gateway.protocol.json_values import check_json

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
JSON = st.recursive(
    SCALARS, lambda child: st.lists(child) | st.dictionaries(st.text(), child), max_leaves=20
)


@given(JSON)
def test_what_passes_survives_both_codecs(value: object) -> None:
    """The one as the other."""
    check_json(value, "$.content", max_depth=64)
    json = msgspec.json.decode(msgspec.json.encode(value))
    assert json == msgspec.msgpack.decode(msgspec.msgpack.encode(value))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (math.nan, "$.c: not a finite number"),
        (-math.inf, "$.c: not a finite number"),
        (2**64, "$.c: an integer beyond 64 bits"),
        (-(2**63) - 1, "$.c: an integer beyond 64 bits"),
        (b"bytes", "$.c: not a JSON value"),
        (datetime(2026, 1, 1, tzinfo=UTC), "$.c: not a JSON value"),
        (msgspec.msgpack.Ext(1, b""), "$.c: not a JSON value"),
        ({1: 2}, "$.c: a key is not a string"),
        ({None: 2}, "$.c: a key is not a string"),
        ([0, {"a": [1, math.inf]}], "$.c[1].a[1]: not a finite number"),
    ],
)
def test_what_json_cannot_hold_is_refused_and_its_place_named(value: object, told: str) -> None:
    """A client finds the fault by the message."""
    with pytest.raises(BadRequest) as caught:
        check_json(value, "$.c", max_depth=64)
    assert caught.value.message == told


@pytest.mark.parametrize(
    "wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["list", "map"]
)
def test_depth_is_counted_in_levels(wrap: object) -> None:
    """Sixty-four pass; one more does not; ten thousand cost no stack."""
    value: object = 1
    for _ in range(64):
        value = wrap(value)
    check_json(value, "$.c", max_depth=64)
    for extra in (1, 10_000):
        for _ in range(extra):
            value = wrap(value)
        with pytest.raises(BadRequest, match="nested deeper than 64 levels"):
            check_json(value, "$.c", max_depth=64)


def test_a_long_key_is_not_repeated_whole() -> None:
    """What the error says stays short."""
    with pytest.raises(BadRequest) as caught:
        check_json({"k" * 10_000: math.nan}, "$.c", max_depth=64)
    assert len(caught.value.message) < 120


def test_values_are_counted_and_bounded() -> None:
    """A list, its items and what they hold; a long one is refused before it is walked through."""
    value = [1, {"a": [None, "x"]}, []]
    assert check_json(value, "$.c", max_depth=64, max_nodes=7) == 7
    with pytest.raises(TooLarge, match=r"\$\.c: has more than 6 values"):
        check_json(value, "$.c", max_depth=64, max_nodes=6)
    unreadable = [object()] * 100
    with pytest.raises(TooLarge):
        check_json(unreadable, "$.c", max_depth=64, max_nodes=100)


def test_path_of_a_deep_fault_is_shortened() -> None:
    """Sixty levels of keys say only where they begin and end."""
    value: object = math.nan
    for _ in range(60):
        value = {"k" * 64: value}
    with pytest.raises(BadRequest, match="not a finite number") as caught:
        check_json(value, "$.c", max_depth=64)
    assert len(caught.value.message) < 300


def test_memory_of_a_check_does_not_grow_with_the_paths() -> None:
    """10,000 values 60 levels down, under keys of 300 characters: their paths have 180 MB."""
    value: object = [1] * 10_000
    for _ in range(60):
        value = {"k" * 300: value}
    tracemalloc.start()
    try:
        check_json(value, "$.c", max_depth=64)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [1, 1.5, "x", True, None, [], {}], ids=str)
def test_members_are_looked_at_without_a_call_for_each(value: object) -> None:
    """10,000 numbers took 6 ms, ten times as long as decoding them."""
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(lambda _frame, event, _argument: count() if event == "call" else None)
    try:
        check_json([value] * 10_000, "$.c", max_depth=64)
    finally:
        sys.setprofile(None)
    assert calls < 20
