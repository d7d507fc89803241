"""Faults of a cluster, at the shard that holds the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hiredis

from tests.failover.faults_sentinel import hang as hang_until_replaced
from tests.failover.faults_sentinel import kill, lossy, lossy_busy
from tests.support.eventually import eventually, passing

if TYPE_CHECKING:
    from tests.failover.scenario import Stage
    from tests.support.redis_node import RedisNode

__all__ = [
    "back",
    "hang",
    "hang_until_replaced",
    "kill",
    "lossy",
    "lossy_busy",
    "migrate",
    "planned",
]
HANG_S = 8.0
TURN_S = 60.0
BATCH = 5  # keys of a slot that move at once


async def hang(stage: Stage) -> None:
    """SIGSTOP the master for 8 s: it wakes and executes what waits in its sockets."""
    old = await stage.master()
    stage.strike(f"stop {old}")
    old.pause()
    try:
        await passing(HANG_S)
    finally:
        old.resume()
    stage.note(f"{old} goes on")
    new = await stage.ground.replaced(stage.room, old)
    stage.note(f"{new} is master")


async def planned(stage: Stage) -> None:
    """`CLUSTER FAILOVER`."""
    await _turn(stage)


async def back(stage: Stage) -> None:
    """Fail over and back, while links to the first master stay open."""
    await _turn(stage)
    await stage.wait(0.5, 1.5)
    await _turn(stage)


async def migrate(stage: Stage) -> None:
    """Move the conversation's slot to another master and back, key by key."""
    servers = stage.ground.servers
    slot = await servers.ask("CLUSTER", "KEYSLOT", await stage.ground.key(stage.room))
    home = await stage.master()
    masters = {await servers.node_for_slot(n) for n in (0, 8_000, 16_383)}
    other = stage.dice.choice(sorted(masters - {home}, key=lambda node: node.port))
    for source, target in ((home, other), (other, home)):
        stage.strike(f"slot {slot} moves from {source} to {target}")
        await _move(stage, slot, source, target)
        stage.note("it has moved")
        await stage.wait(0.3, 1.0)


async def _move(stage: Stage, slot: int, source: RedisNode, target: RedisNode) -> None:
    source_id, target_id = (
        await source.call("CLUSTER", "MYID"),
        await target.call("CLUSTER", "MYID"),
    )
    await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := await source.call("CLUSTER", "GETKEYSINSLOT", slot, BATCH):
        await source.call(
            "MIGRATE", target.host, target.port, "", 0, 2000, "REPLACE", "KEYS", *keys
        )
        await stage.wait(0.0, 0.1)
    for node in (target, source, *stage.ground.servers.nodes):
        try:
            await node.call("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        except hiredis.ReplyError:  # a replica hears of it from its master
            continue
    await eventually(lambda: _serves(stage, target, slot), what=f"{target} serves {slot}")


async def _serves(stage: Stage, target: RedisNode, slot: int) -> bool:
    return await stage.ground.servers.node_for_slot(slot) is target


async def _turn(stage: Stage) -> None:
    """Ask the replica to take over until it has."""
    old = await stage.master()
    stage.strike(f"CLUSTER FAILOVER of {old}")

    async def turned() -> RedisNode | None:
        now = await stage.master()
        if now is not old:
            return now
        try:
            for replica in await stage.ground.replicas(old):
                await replica.call("CLUSTER", "FAILOVER")
        except (hiredis.ReplyError, OSError):  # not yet
            pass
        return None

    new = await eventually(turned, what=f"{old} is replaced", within_s=TURN_S)
    stage.note(f"{new} is master")
