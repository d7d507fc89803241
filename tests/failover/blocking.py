"""Making a replica lag: the master refuses to replicate, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.failover.scenario import Stage
    from tests.support.redis_node import RedisNode


async def block_replication(stage: Stage, master: RedisNode) -> None:
    """Cut the replicas off, and let none of them in again until the master was restarted.

    A stopped replica would not do: what the master sends waits in its socket, and it reads that
    before it is promoted.
    """
    replicas = await stage.ground.replicas(master)
    assert replicas, f"{master} has no replica"
    await master.call("ACL", "SETUSER", "default", "-psync", "-sync", "-replconf")
    await master.call("CLIENT", "KILL", "TYPE", "replica")

    async def are_cut_off() -> bool:
        told = await master.info("replication")
        return told["connected_slaves"] == "0"

    await eventually(are_cut_off, what="replicas are cut off")
    stage.note(f"{replicas} hear nothing more of {master}")


async def wait_until_all_heard(stage: Stage, *, events: int = 3) -> None:
    """Wait until all members were told of so many events."""
    await eventually(
        lambda: all(
            sum(frame["type"] == "event" for frame in member.stream.frames) >= events
            for member in stage.members
            if not member.stream.is_partial
        ),
        what=f"all have heard {events} events",
    )
