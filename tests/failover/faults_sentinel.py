"""Faults of a master and its replicas behind sentinels."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import hiredis

from tests.failover.blocking import block_replication, wait_until_all_heard
from tests.support.eventually import eventually
from tests.support.redis_servers import SERVICE

if TYPE_CHECKING:
    from tests.failover.member import Member
    from tests.failover.scenario import Stage
    from tests.support.redis_node import RedisNode

TURN_S = 60.0  # sentinels refuse a second failover for a while, and one that comes too early


async def kill(stage: Stage) -> None:
    """SIGKILL the master; start it again when it is replaced."""
    old = await stage.master()
    stage.strike(f"kill {old}")
    old.kill()
    new = await stage.ground.replaced(stage.room, old)
    stage.note(f"{new} is master")
    await stage.wait(0.5, 2.0)
    await old.start()
    stage.note(f"{old} is back")


async def hang(stage: Stage) -> None:
    """SIGSTOP the master until it is replaced, and a moment more; then SIGCONT."""
    old = await stage.master()
    stage.strike(f"stop {old}")
    old.pause()
    try:
        new = await stage.ground.replaced(stage.room, old)
        stage.note(f"{new} is master")
        await stage.wait(0.2, 3.0)
    finally:
        old.resume()
    stage.note(f"{old} goes on")


async def planned(stage: Stage) -> None:
    """`SENTINEL FAILOVER`: the old master is not asked, and goes on for some seconds."""
    await _turn(stage)


async def back(stage: Stage) -> None:
    """Fail over and back, while links to the first master stay open."""
    await _turn(stage)
    await stage.ground.settle()
    await _turn(stage)


async def coordinated(stage: Stage) -> None:
    """`SENTINEL FAILOVER … COORDINATED` (Valkey 9): the old master waits for its replica."""
    await _turn(stage, "COORDINATED")


async def coordinated_back(stage: Stage) -> None:
    """Fail over in step and back."""
    await _turn(stage, "COORDINATED")
    await stage.ground.settle()
    await _turn(stage, "COORDINATED")


async def lossy(stage: Stage) -> None:
    """Kill a master whose replica is five events behind; one who heard nothing sends ten."""
    teller, late = stage.members[0], await stage.stand_by("late")
    for n in range(3):
        await teller.say(f"before {n}")
    await wait_until_all_heard(stage)
    old = await stage.master()
    await block_replication(stage, old)
    begun = [teller.begin(f"lost {n}") for n in range(5)]
    await wait_until_all_heard(stage, events=8)
    stage.strike(f"kill {old}")
    old.kill()
    late_ones = asyncio.create_task(_say_ten(late))  # the first as soon as there is a master
    new = await stage.ground.replaced(stage.room, old)
    stage.note(f"{new} is master, five events behind")
    await old.start()
    await late_ones
    for one in begun:
        await one
    await teller.say("the end")


async def _say_ten(member: Member) -> None:
    """All at once, so that they pass the five before anybody else has written."""
    await asyncio.gather(*(member.say(f"late {n}") for n in range(10)))


async def lossy_busy(stage: Stage) -> None:
    """Kill a master whose replicas have heard nothing for a moment, under load."""
    old = await stage.master()
    await block_replication(stage, old)
    await stage.wait(0.2, 0.8)
    stage.strike(f"kill {old}")
    old.kill()
    new = await stage.ground.replaced(stage.room, old)
    stage.note(f"{new} is master")
    await stage.wait(0.2, 1.0)
    await old.start()


async def split(stage: Stage) -> None:
    """Part the master, its gateway and a sentinel from all others for 12 to 14 s."""
    old, network = await stage.master(), stage.ground.network
    stage.strike(f"{old} and its gateway are parted from the others")
    network.part()
    try:
        await stage.wait(12.0, 14.0)
        new = await stage.ground.replaced(stage.room, old)
        stage.note(f"{new} is master beyond")
    finally:
        network.join()
    stage.note("they are together again")


async def _turn(stage: Stage, *how: str) -> None:
    """Ask a sentinel for a failover until there is one: two would each make their own."""
    sentinel = stage.ground.servers.sentinels.nodes[0]
    old = await stage.master()
    stage.strike(f"{' '.join(['SENTINEL FAILOVER', *how])} of {old}")

    async def turned() -> RedisNode | None:
        now = await stage.master()
        if now is not old:
            return now
        with suppress(hiredis.ReplyError, OSError):  # not yet, or under way
            await sentinel.call("SENTINEL", "FAILOVER", SERVICE, *how)
        return None

    new = await eventually(turned, what=f"{old} is replaced", within_s=TURN_S)
    stage.note(f"{new} is master")
