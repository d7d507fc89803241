"""JSON Patch off the event loop, where it may take long."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from gateway.protocol.json_patch import apply_patch
from gateway.threads import OwnThreads

ASIDE_BYTES = 16_384  # of context and patch; more than that is worked on in a thread
_threads = OwnThreads("patch", count=2)  # more patches wait: Python works on one at a time


async def apply_patch_aside(
    document: dict[str, Any],
    patch: list[dict[str, Any]],
    *,
    document_bytes: int,
    max_bytes: int,
    max_depth: int,
    max_nodes: int,
) -> dict[str, Any]:
    """Do as `apply_patch`, off the event loop if it may take long.

    When cancelled, a patch that is being applied is finished in its thread, and forgotten.

    Args:
        document: what is patched; not changed.
        patch: the operations.
        document_bytes: how large the document is as JSON.
        max_bytes: of the result.
        max_depth: of the result.
        max_nodes: of the result.
    """
    limits = {"max_bytes": max_bytes, "max_depth": max_depth, "max_nodes": max_nodes}
    if document_bytes + len(msgspec.json.encode(patch)) <= ASIDE_BYTES:
        return apply_patch(document, patch, **limits)
    return await _threads.run(partial(apply_patch, document, patch, **limits))
