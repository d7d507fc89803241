"""What of the user's JSON both codecs can carry."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.json_values import check_json

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
