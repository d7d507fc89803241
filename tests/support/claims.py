"""Runs claimed as a worker claims them, without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.keys import SHARDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.store.run_lines import Claim
    from gateway.store.store import Store


async def claim_in(
    store: Store,
    shard: int,
    agents: Sequence[str],
    *,
    on_put_off: Callable[[float], object] | None = None,
) -> Claim | None:
    """Take the run of a shard whose turn it is."""
    found = await store.lines.look(shard, agents)
    if found.again_s is not None and on_put_off is not None:
        on_put_off(found.again_s)
    if not found.lines:
        return None
    return (await store.lines.claim(shard, agents, found.lines[0])).claim


async def claim_any(store: Store, agents: Sequence[str]) -> Claim | None:
    """Take a run of any shard."""
    for shard in range(SHARDS):
        claim = await claim_in(store, shard, agents)
        if claim is not None:
            return claim
    return None
