"""JSON Patch over an agent context."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, RequestError, TooLarge
from gateway.protocol import json_patch as patching
from gateway.protocol.json_patch import apply_patch
from gateway.protocol.json_values import check_json
from gateway.runs.patching_aside import apply_patch_aside
from tests.unit.protocol.test_json_values import JSON


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
    with pytest.raises(BadRequest, match=r"\$\.patch(\[\d\])?: ") as caught:
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


def large() -> dict[str, Any]:
    """Return a context of 240 KB."""
    return {"memory": {"big": {f"k{n}": "x" * 5 for n in range(15_000)}, "a": 1}, "workflow": {}}


def values_looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of values of each check, as they are made."""
    looked_at: list[int] = []

    def counting(*given: Any, **limits: Any) -> int:
        looked_at.append(check_json(*given, **limits))
        return looked_at[-1]

    monkeypatch.setattr(patching, "check_json", counting)
    return looked_at


def test_small_copies_do_not_look_at_the_whole_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them in 240 KB: the context is looked at once, at the end."""
    looked_at = values_looked_at(monkeypatch)
    copies = [{"op": "copy", "from": "/memory/a", "path": f"/workflow/c{n}"} for n in range(1000)]
    found = apply_patch(large(), copies, max_bytes=262_144, max_depth=64)
    assert len(found["workflow"]) == 1000
    assert sum(looked_at) < 20_000


def test_large_copies_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each replaces the one before, so that the context does not grow."""
    looked_at = values_looked_at(monkeypatch)
    copies = [{"op": "copy", "from": "/memory/big", "path": "/workflow/same"}] * 1000
    with pytest.raises(TooLarge, match=r"^too_large: \$\.patch\[\d+\]: "):
        apply_patch(large(), copies, max_bytes=1_000_000, max_depth=64, max_nodes=40_000)
    assert sum(looked_at) < 3 * patching.MAX_WHOLE_COPIES * 40_000


def test_context_that_shrinks_again_may_be_large_in_between() -> None:
    """As RFC 6902 has it, only the result counts; in between there is at most twice as much."""
    big = [
        {"op": "copy", "from": "/memory/a", "path": "/workflow/a"},
        {"op": "remove", "path": "/memory/a"},
    ]
    document = {"memory": {"a": "x" * 600}, "workflow": {}}
    found = apply_patch(document, big, max_bytes=1000, max_depth=64)
    assert found == {"memory": {}, "workflow": {"a": "x" * 600}}


def test_operation_at_fault_is_named() -> None:
    """By its place in the patch."""
    good = {"op": "add", "path": "/memory/a", "value": 1}
    for bad in ({"op": "remove", "path": "/memory/no"}, {"op": "append", "path": "/memory/a"}):
        with pytest.raises(BadRequest, match=r"\$\.patch\[2\]: "):
            patched(empty(), [good, good, bad])


@pytest.mark.parametrize(("size", "is_aside"), [(10, False), (20_000, True)])
async def test_large_patches_run_off_the_loop(
    monkeypatch: pytest.MonkeyPatch, size: int, *, is_aside: bool
) -> None:
    """Small ones are quicker where they are."""
    threads: list[int] = []

    def noting(*given: Any, **limits: Any) -> int:
        threads.append(threading.get_ident())
        return check_json(*given, **limits)

    monkeypatch.setattr(patching, "check_json", noting)
    patch = [{"op": "add", "path": "/memory/a", "value": "x" * size}]
    limits = {"max_bytes": 100_000, "max_depth": 64, "max_nodes": 1000}
    found = await apply_patch_aside(empty(), patch, document_bytes=4, **limits)
    assert found["memory"] == {"a": "x" * size}
    assert (threads != [threading.get_ident()]) is is_aside


@pytest.mark.parametrize("steps", [1, 2])
def test_values_cannot_be_nested_beyond_what_python_can_walk(steps: int) -> None:
    """Built level by level, by moves and by copies: refused, never a RecursionError."""
    inner: Any = 1
    for _ in range(60):
        inner = {"a": inner}
    patch: list[dict[str, Any]] = [{"op": "add", "path": "/memory/x0", "value": inner}]
    for n in range(1, 60):
        patch.append({"op": "add", "path": f"/memory/x{n}", "value": inner})
        patch.append(
            {"op": "move", "from": f"/memory/x{n - 1}", "path": f"/memory/x{n}" + "/a" * 60}
        )
    patch += [{"op": "copy", "from": "/memory", "path": "/workflow/c"}] * (steps - 1)
    with pytest.raises(BadRequest, match="nested deeper than 64 levels"):
        patched(empty(), patch)
