"""JSON Patch over an agent context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, RequestError, TooLarge
from gateway.patching import apply_patch
from tests.test_json_values import JSON


def patched(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply with limits that do not matter."""
    return apply_patch(document, patch, max_bytes=100_000, max_depth=64)


def empty() -> dict[str, Any]:
    """Return a context that was never written."""
    return {"memory": {}, "workflow": {}}


def test_each_operation_of_rfc_6902_is_applied() -> None:
    """In the order given."""
    found = patched(
        {"memory": {"a": 1, "b": [1, 2]}, "workflow": {}},
        [
            {"op": "test", "path": "/memory/a", "value": 1},
            {"op": "add", "path": "/memory/b/-", "value": 3},
            {"op": "replace", "path": "/memory/a", "value": {"x": None}},
            {"op": "copy", "from": "/memory/b", "path": "/workflow/b"},
            {"op": "move", "from": "/memory/a", "path": "/workflow/a"},
            {"op": "remove", "path": "/memory/b/0"},
        ],
    )
    assert found == {"memory": {"b": [2, 3]}, "workflow": {"a": {"x": None}, "b": [1, 2, 3]}}


BAD = [
    [{"op": "test", "path": "/memory/a", "value": 2}],
    [{"op": "remove", "path": "/memory/none"}],
    [{"op": "add", "path": "/memory/a/b/c", "value": 1}],
    [{"op": "add", "path": "/memory/list/9", "value": 1}],
    [{"op": "add", "path": "/memory/list/x", "value": 1}],
    [{"op": "add", "path": "no slash", "value": 1}],
    [{"op": "add", "path": "/memory/x"}],
    [{"op": "add", "value": 1}],
    [{"op": "add", "path": 5, "value": 1}],
    [{"op": "add", "path": None, "value": 1}],
    [{"op": "nope", "path": "/memory/a"}],
    [{"op": ["add"], "path": "/memory/a"}],
    [{"op": {}, "path": "/memory/a"}],
    [{}],
    [{"op": "copy", "path": "/memory/a"}],
    [{"op": "move", "from": "/memory", "path": "/memory/a"}],
    [{"op": "move", "from": 7, "path": "/memory/a"}],
    [{"op": "add", "path": "/other", "value": 1}],
    [{"op": "add", "path": "/tool_calls", "value": []}],
    [{"op": "remove", "path": "/memory"}],
    [{"op": "replace", "path": "/memory", "value": 5}],
    [{"op": "replace", "path": "", "value": []}],
    [{"op": "remove", "path": ""}],
    [{"op": "replace", "path": "", "value": {"memory": {}}}],
]


@pytest.mark.parametrize("patch", BAD, ids=str)
def test_what_cannot_be_applied_is_refused_and_changes_nothing(
    patch: list[dict[str, Any]],
) -> None:
    """The error names the field, not what is inside."""
    before = {"memory": {"a": 1, "list": [1]}, "workflow": {}}
    with pytest.raises(BadRequest, match=r"\$\.patch: ") as caught:
        patched(before, [{"op": "add", "path": "/memory/new", "value": 1}, *patch])
    assert before == {"memory": {"a": 1, "list": [1]}, "workflow": {}}
    assert "'" not in caught.value.message


def test_a_context_that_would_be_too_large_is_refused() -> None:
    """Measured as JSON."""
    with pytest.raises(TooLarge):
        apply_patch(
            empty(),
            [{"op": "add", "path": "/memory/a", "value": "x" * 100}],
            max_bytes=100,
            max_depth=64,
        )


def test_copies_cannot_build_what_is_too_deep_or_too_large() -> None:
    """A thousand that each double the context cost no more than the first ones."""
    doubling = [{"op": "copy", "from": "/memory", "path": f"/memory/m{n}"} for n in range(1000)]
    with pytest.raises(TooLarge):
        apply_patch(empty(), doubling, max_bytes=10_000, max_depth=64)
    deeper = [{"op": "copy", "from": "/memory", "path": "/memory/m"}] * 1000
    with pytest.raises(BadRequest, match="nested deeper than 64"):
        apply_patch(empty(), deeper, max_bytes=100_000, max_depth=64)


PATHS = st.sampled_from(
    ["", "/memory", "/workflow", "/memory/a", "/memory/a/0", "/memory/a/-", "/memory/~1", "/x", "y"]
)
OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
    optional={"path": PATHS | JSON, "from": PATHS | JSON, "value": JSON},
) | st.dictionaries(st.text(max_size=4), JSON, max_size=3)


@given(st.lists(OPERATION, max_size=5))
def test_no_patch_raises_anything_but_a_request_error(patch: list[dict[str, Any]]) -> None:
    """And what comes out has both objects."""
    before = {"memory": {"a": [1, {"b": 2}]}, "workflow": {}}
    try:
        found = patched(before, patch)
    except RequestError:
        assert before == {"memory": {"a": [1, {"b": 2}]}, "workflow": {}}
    else:
        assert isinstance(found["memory"], dict)
        assert isinstance(found["workflow"], dict)
