"""JSON Patch (RFC 6902) over an agent context; no I/O.

What a patch may cost is bounded by its own size and by what it copies: no operation walks through
the whole document. `copy` is the only operation that makes something out of nothing, so only what
is copied is measured as it happens; the result is measured once.
"""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer
import msgspec

from gateway.errors import BadRequest, TooLarge
from gateway.protocol.json_values import MAX_NODES, check_json

ROOTS = ("memory", "workflow")
OPERATIONS = frozenset({"add", "remove", "replace", "move", "copy", "test"})  # RFC 6902 section 4
MAX_WHOLE_COPIES = 10  # what a patch copies in all, in contexts of `max_nodes` values
BYTES_OF_WORK = 64  # bytes of text that count as one value, when what is copied is added up
_CANNOT = (
    jsonpatch.JsonPatchException,
    jsonpointer.JsonPointerException,
    TypeError,
    KeyError,
    IndexError,
    ValueError,
    RecursionError,
)


def apply_patch(
    document: dict[str, Any],
    patch: list[dict[str, Any]],
    *,
    max_bytes: int,
    max_depth: int,
    max_nodes: int = MAX_NODES,
) -> dict[str, Any]:
    """Apply a patch to `{"memory": {…}, "workflow": {…}}`; all of it or nothing.

    Raises:
        BadRequest: an operation that is not RFC 6902's, a place that does not exist, a `test` that
            fails, or a result without both objects; names the operation (`$.patch[3]`).
        TooLarge: the result exceeds `max_bytes` of JSON or `max_nodes` values, or the patch copies
            more than `MAX_WHOLE_COPIES` such contexts.
    """
    work = _Work(max_bytes, max_depth, max_nodes)
    result: Any = msgspec.json.decode(msgspec.json.encode(document))
    for index, operation in enumerate(patch):
        result = work.apply(result, operation, f"$.patch[{index}]")
    work.check(result, "$.patch")
    if not isinstance(result, dict) or set(result) != set(ROOTS):
        raise BadRequest("$.patch: may change only what is under /memory and /workflow")
    for root in ROOTS:
        if not isinstance(result[root], dict):
            raise BadRequest(f"$.patch: /{root} must stay an object")
    return result


class _Work:
    """The limits of one patch, and what it has copied so far."""

    def __init__(self, max_bytes: int, max_depth: int, max_nodes: int) -> None:
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._max_nodes = max_nodes
        self._left = MAX_WHOLE_COPIES * (max_nodes + max_bytes // BYTES_OF_WORK)
        self._grown_bytes = 0  # at most so much has come since the document was measured
        self._grown_nodes = 0

    def apply(self, document: Any, operation: dict[str, Any], at: str) -> Any:  # the user's own
        try:
            if operation.get("op") not in OPERATIONS:
                raise BadRequest(f"{at}: not an operation of RFC 6902")
            if operation["op"] == "copy":
                self._count(jsonpointer.resolve_pointer(document, operation["from"]), at)
            document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
        except _CANNOT as exc:
            raise BadRequest(f"{at}: {_reason(exc)}") from exc
        if self._grown_bytes > self._max_bytes or self._grown_nodes > self._max_nodes:
            self.check(document, at)  # paid for by what was copied since the last time
            self._grown_bytes = self._grown_nodes = 0
        return document

    def check(self, document: Any, at: str) -> None:
        """See that the whole document keeps the limits."""
        check_json(document, at, max_depth=self._max_depth, max_nodes=self._max_nodes)
        if len(msgspec.json.encode(document)) > self._max_bytes:
            raise TooLarge(f"{at}: the context would exceed {self._max_bytes} bytes")

    def _count(self, source: Any, at: str) -> None:
        """Add up what is copied, before it is."""
        nodes = check_json(source, at, max_depth=self._max_depth, max_nodes=self._max_nodes)
        size = len(msgspec.json.encode(source))
        self._grown_nodes += nodes
        self._grown_bytes += size
        self._left -= nodes + size // BYTES_OF_WORK
        if self._left < 0:
            raise TooLarge(f"{at}: the patch copies too much; send it in several")


def _reason(exc: Exception) -> str:
    if isinstance(exc, jsonpatch.JsonPatchTestFailed):
        return "a test operation failed"
    if isinstance(exc, jsonpatch.InvalidJsonPatch):
        return "not an operation of RFC 6902"
    return "a path does not exist or cannot be changed so"
