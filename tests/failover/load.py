"""What goes on meanwhile: members talk, let an agent count, patch the context, and wander."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.eventually import passing
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.failover.member import Member

RUN = "/count 60 20"
RUN_S = 1.5


class Load:
    """Begins with `start`; `stop` returns when all that was begun is accepted."""

    def __init__(self, members: Sequence[Member], *, pause_s: float, dice: random.Random) -> None:
        """Prepare.

        Args:
            members: the first two stay where they are, every other one after them wanders.
            pause_s: between two messages of a member, on average.
            dice: decides all pauses.
        """
        self._members = members
        self._pause_s = pause_s
        self._dice = dice
        self._is_over = asyncio.Event()
        self._doing: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let everybody begin."""
        first, second = self._members[:2]
        steps = [self._talk(member) for member in self._members]
        steps += [self._patch(first), self._count(second)]
        steps += [self._wander(member) for member in self._members[2::2]]
        self._doing = [asyncio.create_task(step) for step in steps]

    async def stop(self) -> None:
        """End it; what was sent is accepted when this returns."""
        self._is_over.set()
        await asyncio.gather(*self._doing)
        self._doing = []

    async def abandon(self) -> None:
        """End it at once, after a failure."""
        for task in self._doing:
            task.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        await passing(self._dice.uniform(0.5, 1.5) * seconds)

    async def _talk(self, member: Member) -> None:
        count = 0
        while not self._is_over.is_set():
            count += 1
            await member.say(f"{member.subject} says {count}")
            await self._pause(self._pause_s)

    async def _patch(self, member: Member) -> None:
        count = 0
        while not self._is_over.is_set():
            count += 1
            context = await member.ask("get_agent_context")
            if context is not None:
                await self._patch_once(member, context["version"], count)
            await self._pause(2 * self._pause_s)

    async def _patch_once(self, member: Member, version: int, count: int) -> None:
        patch = [{"op": "add", "path": f"/memory/k{count % 7}", "value": count}]
        try:
            await member.ask("update_agent_context", base_version=version, patch=patch)
        except RefusedRequest as refused:  # done before, or another was faster
            if refused.code != "version_conflict":
                raise

    async def _count(self, member: Member) -> None:
        while not self._is_over.is_set():
            await member.say(RUN, agent="demo", if_running="enqueue")
            await self._pause(RUN_S)

    async def _wander(self, member: Member) -> None:
        while not self._is_over.is_set():
            await self._pause(1.5)
            await member.move()
