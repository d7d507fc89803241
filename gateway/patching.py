"""JSON Patch (RFC 6902) over an agent context; no I/O."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import jsonpointer
import msgspec

from gateway.errors import BadRequest, TooLarge
from gateway.json_values import check_json

ROOTS = ("memory", "workflow")


def apply_patch(
    document: dict[str, Any], patch: list[dict[str, Any]], *, max_bytes: int, max_depth: int
) -> dict[str, Any]:
    """Apply a patch to `{"memory": {…}, "workflow": {…}}`; all of it or nothing.

    Raises:
        BadRequest: an operation that is not RFC 6902's, a place that does not exist, a `test` that
            fails, or a result without both objects.
        TooLarge: the result exceeds `max_bytes` of JSON.
    """
    result: Any = copy.deepcopy(document)
    for operation in patch:
        result = _applied(result, operation)
        if operation["op"] == "copy":  # forty of them would double forty times
            _check(result, max_bytes=max_bytes, max_depth=max_depth)
    _check(result, max_bytes=max_bytes, max_depth=max_depth)
    if not isinstance(result, dict) or set(result) != set(ROOTS):
        raise BadRequest("$.patch: may change only what is under /memory and /workflow")
    for root in ROOTS:
        if not isinstance(result[root], dict):
            raise BadRequest(f"$.patch: /{root} must stay an object")
    return result


def _applied(document: Any, operation: dict[str, Any]) -> Any:  # the user's own JSON
    try:
        return jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    except (
        jsonpatch.JsonPatchException,
        jsonpointer.JsonPointerException,
        TypeError,
        KeyError,
        IndexError,
        ValueError,
    ) as exc:
        raise BadRequest(f"$.patch: {_reason(exc)}") from exc


def _check(document: Any, *, max_bytes: int, max_depth: int) -> None:
    check_json(document, "$.patch", max_depth=max_depth)
    if len(msgspec.json.encode(document)) > max_bytes:
        raise TooLarge(f"$.patch: the context would exceed {max_bytes} bytes")


def _reason(exc: Exception) -> str:
    if isinstance(exc, jsonpatch.JsonPatchTestFailed):
        return "a test operation failed"
    if isinstance(exc, jsonpatch.InvalidJsonPatch):
        return "not a list of RFC 6902 operations"
    return "a path does not exist or cannot be changed so"
