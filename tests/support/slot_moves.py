"""Moving slots of a cluster while it is used, step by step or as a whole.

move = await SlotMove.begin(group, slot)     # to the next master, unless told where
await move.carry("key", "other key")         # these only
await move.finish()                          # the rest, and the slot with them

await move_slot(group, slot)                 # all of it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import hiredis

from tests.support.eventually import eventually
from tests.support.ports import HOST

if TYPE_CHECKING:
    from tests.support.redis_node import RedisNode
    from tests.support.redis_servers import ClusterGroup

KEYS_AT_ONCE = 10
TIMEOUT_MS = 2000


@dataclass(frozen=True)
class SlotMove:
    """A slot on its way: MIGRATING at its `source`, IMPORTING at its `target`."""

    group: ClusterGroup
    slot: int
    source: RedisNode
    target: RedisNode

    @classmethod
    async def begin(
        cls, group: ClusterGroup, slot: int, *, target: RedisNode | None = None
    ) -> SlotMove:
        """Let a slot be on its way; none of its keys is carried yet.

        Args:
            group: the cluster.
            slot: which.
            target: a master; the next one if None.
        """
        source = await group.node_for_slot(slot)
        if target is None:
            masters = await masters_of(group)
            target = masters[(masters.index(source) + 1) % len(masters)]
        source_id, target_id = await _id_of(source), await _id_of(target)
        await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        return cls(group, slot, source, target)

    async def left(self, count: int = 10_000) -> list[str]:
        """Return keys that are at the source still."""
        keys = await self.source.call("CLUSTER", "GETKEYSINSLOT", self.slot, count)
        assert isinstance(keys, list)
        return keys

    async def carry(self, *keys: str) -> None:
        """Take keys to the target; those that are not there are passed over."""
        words = ("MIGRATE", HOST, self.target.port, "", 0, TIMEOUT_MS, "KEYS", *keys)
        assert await self.source.call(*words) in {"OK", "NOKEY"}

    async def finish(self) -> None:
        """Carry what is left, and give the slot to its new master; returns when all nodes know."""
        while keys := await self.left(KEYS_AT_ONCE):
            await self.carry(*keys)
        target_id = await _id_of(self.target)
        for node in (self.target, self.source):  # in this order the slot is never nobody's
            await node.call("CLUSTER", "SETSLOT", self.slot, "NODE", target_id)
        await eventually(self._is_known, what=f"all know of slot {self.slot}", within_s=20)

    async def _is_known(self) -> bool:
        for node in self.group.nodes:
            if node.can_answer and await _port_of(node, self.slot) != self.target.port:
                return False
        return True


async def move_slot(group: ClusterGroup, slot: int, *, target: RedisNode | None = None) -> SlotMove:
    """Move a slot with its keys to another master; the next one if `target` is None."""
    move = await SlotMove.begin(group, slot, target=target)
    await move.finish()
    return move


async def slot_of(group: ClusterGroup, key: str) -> int:
    """Return the slot of a key."""
    slot = await group.ask("CLUSTER", "KEYSLOT", key)
    assert isinstance(slot, int)
    return slot


async def masters_of(group: ClusterGroup) -> list[RedisNode]:
    """Return the masters that answer, in the order of the group's nodes."""
    nodes = [node for node in group.nodes if node.can_answer]
    return [node for node in nodes if (await node.info("replication"))["role"] == "master"]


async def _id_of(node: RedisNode) -> str:
    return str(await node.call("CLUSTER", "MYID"))


async def _port_of(node: RedisNode, slot: int) -> int | None:
    """Return the port of a slot's master, as a node sees it."""
    try:
        ranges = await node.call("CLUSTER", "SLOTS")
    except hiredis.ReplyError:
        return None
    assert isinstance(ranges, list)
    return next((row[2][1] for row in ranges if row[0] <= slot <= row[1]), None)
