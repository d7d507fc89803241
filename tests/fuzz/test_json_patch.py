"""JSON Patch over an agent context: RFC 6902, all or nothing, and within the limits."""

from __future__ import annotations

import contextlib
import copy
import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, TooLarge
from gateway.protocol.json_patch import apply_patch
from gateway.protocol.json_values import check_json
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import any_text, json_values
from tests.fuzz.rfc6902 import Refused, model

LIMITS = {"max_bytes": 600, "max_depth": 8, "max_nodes": 60}
keys = st.sampled_from(["a", "b", "0", "1", "-", "", "~", "/", "01", "é", "length"])
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
contexts = st.fixed_dictionaries(
    {"memory": st.dictionaries(keys, plain, max_size=3), "workflow": st.just({"a": [0, 1]})}
)
pointers = st.one_of(
    st.lists(keys, max_size=3).map(
        lambda names: (
            "/memory" + "".join("/" + n.replace("~", "~0").replace("/", "~1") for n in names)
        )
    ),
    st.sampled_from(["", "/", "/memory", "/workflow/a/0", "/workflow/a/-", "/workflow/a/1", "x"]),
    st.sampled_from(["/memory/~", "/memory/~2", "/workflow/a/-1", "/workflow/a/1e0", "/memory/a/"]),
    any_text,
)
operations = st.one_of(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "replace", "test"]), "path": pointers, "value": plain}
    ),
    st.fixed_dictionaries({"op": st.just("remove"), "path": pointers}),
    st.fixed_dictionaries(
        {"op": st.sampled_from(["move", "copy"]), "path": pointers, "from": pointers}
    ),
    st.dictionaries(
        st.sampled_from(["op", "path", "from", "value", "x"]), json_values | pointers, max_size=4
    ),
)


def places(value: object, path: str = "") -> list[str]:
    """The pointers to all that is in a document, itself too."""
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    below = [
        place
        for key, child in inner
        for place in places(child, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")
    ]
    return [path, *below]


@st.composite
def patched_contexts(draw: st.DrawFn) -> tuple[dict, list]:
    """A context and a patch for it, most of whose operations find what they are about."""
    context = document = draw(contexts)
    patch = []
    for _ in range(draw(st.integers(1, 6))):
        there = st.sampled_from(places(document)[1:] or [""])
        beside = st.builds("{}/{}".format, there, st.sampled_from(["a", "0", "1", "-", "n"]))
        operation = draw(
            st.fixed_dictionaries(
                {"op": st.sampled_from(["add", "replace", "test"]), "path": there, "value": plain}
            )
            | st.fixed_dictionaries({"op": st.just("add"), "path": beside, "value": plain})
            | st.fixed_dictionaries({"op": st.just("remove"), "path": there})
            | st.fixed_dictionaries(
                {"op": st.sampled_from(["move", "copy"]), "path": beside | there, "from": there}
            )
            | operations
        )
        patch.append(operation)
        with contextlib.suppress(Refused):
            document = model(document, [operation])
    return context, patch


def applied(document: dict, patch: list) -> dict | type[Exception]:
    """What comes of a patch, or how it is refused."""
    try:
        return apply_patch(document, patch, **LIMITS)
    except (BadRequest, TooLarge) as exc:
        assert "$.patch" in str(exc)
        assert len(str(exc)) < 500
        return type(exc)


@fuzz
@given(patched_contexts())
def test_a_patch_is_applied_whole_or_refused(case: tuple[dict, list]) -> None:
    """The old context is never changed; a new one keeps the limits and both its objects."""
    document, patch = case
    before = copy.deepcopy(document)
    result = applied(document, patch)
    assert document == before
    if isinstance(result, dict):
        assert set(result) == {"memory", "workflow"}
        assert all(isinstance(part, dict) for part in result.values())
        assert len(msgspec.json.encode(result)) <= LIMITS["max_bytes"]
        check_json(result, "$", max_depth=LIMITS["max_depth"], max_nodes=LIMITS["max_nodes"])


@fuzz
@given(patched_contexts())
def test_a_patch_does_what_the_rfc_says(case: tuple[dict, list]) -> None:
    """A model of RFC 6902 in sixty lines comes to the same, or refuses too."""
    document, patch = case
    result = applied(document, patch)
    if result is TooLarge:
        return
    try:
        expected = model(document, patch)
    except Refused:
        assert result is BadRequest
        return
    if isinstance(result, dict):
        assert json.dumps(result, sort_keys=True) == json.dumps(expected, sort_keys=True)
    elif isinstance(expected, dict) and set(expected) == {"memory", "workflow"}:
        is_good = all(isinstance(part, dict) for part in expected.values())
        within = True
        try:
            check_json(expected, "$", max_depth=LIMITS["max_depth"])
        except BadRequest:
            within = False
        assert not is_good or not within, (result, expected)
