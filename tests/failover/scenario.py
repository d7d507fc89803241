"""One scenario: clients and load on a ground, faults, and what came of it."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.failover.checker import Verdict, judge
from tests.failover.load import Load
from tests.failover.member import Member
from tests.failover.recovery import recoveries
from tests.failover.survey import Survey
from tests.failover.topologies import grounds
from tests.support.eventually import eventually, passing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.failover.plan import Plan
    from tests.failover.stream import Surviving
    from tests.failover.topologies import Ground

HEARD_S = 20.0
# Replicas compare with Redis every 30 s: until then a client may be told.
SETTLE_S = 40.0


def tell_nothing(text: str) -> None:
    """Drop what is told of the progress."""
    del text


@dataclass
class Stage:
    """A scenario that is going on, for its faults to act on.

    Attributes:
        dice: decides all that the plan leaves open.
        struck_at: when each fault began, monotonic seconds.
        said: what was done, with the seconds since the start.
    """

    plan: Plan
    ground: Ground
    room: str
    base: dict[str, Any]
    dice: random.Random
    members: list[Member] = field(default_factory=list)
    struck_at: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    tell: Callable[[str], None] = tell_nothing
    _began_at: float = field(default_factory=time.monotonic)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def note(self, text: str) -> None:
        """Keep what is done, for whoever looks into a failure."""
        self.said.append(f"{time.monotonic() - self._began_at:6.2f} {text}")
        self.tell(self.said[-1])

    def strike(self, text: str) -> None:
        """Note that a fault begins now."""
        self.struck_at.append(time.monotonic())
        self.note(text)

    async def master(self) -> Any:
        """Return the server that takes writes for the conversation."""
        return await self.ground.master(self.room)

    async def wait(self, low_s: float, high_s: float) -> None:
        """Let the load go on for a while."""
        await passing(self.dice.uniform(low_s, high_s))

    async def join(self, subject: str, at: int) -> Member:
        """Bring a member to the gateway `at`; the other one is its next."""
        member = self._invite(subject, at)
        await member.open()
        self.keep(member)
        return member

    async def stand_by(self, subject: str) -> Member:
        """Bring one who takes part to the second gateway, which so hears nothing of it yet."""
        member = self._invite(subject, 1)
        member.stream.is_partial = True
        await member.connect()
        self.keep(member)
        return member

    def _invite(self, subject: str, at: int) -> Member:
        places = self.ground.places[at:] + self.ground.places[:at]
        member = Member(subject, places, tenant="t", room=self.room)
        self.members.append(member)
        return member

    def keep(self, member: Member) -> None:
        """Keep a member connected to the end."""
        keeping = asyncio.create_task(member.keep(), name=f"keeps {member.subject}")
        self._stack.push_async_callback(_ended, keeping, member)

    async def close(self) -> None:
        """Let everybody go."""
        await self._stack.aclose()


async def _ended(keeping: asyncio.Task[None], member: Member) -> None:
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await member.close()


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        recovered_s: for each fault and member, how long nothing of theirs was accepted.
        settled_s: how long after the last fault's end it took until all was right.
        logs: what the servers printed, by name.
    """

    plan: Plan
    verdict: Verdict
    stage: Stage
    surviving: Surviving
    recovered_s: list[float]
    settled_s: float
    logs: dict[str, str]

    @property
    def accepted(self) -> int:
        """Messages that were accepted."""
        return sum(len(member.stream.accepted) for member in self.stage.members)

    @property
    def errors(self) -> Counter[str]:
        """Replies `error` and cuts, of all members."""
        return sum((member.errors for member in self.stage.members), Counter())

    @property
    def losses(self) -> Counter[str]:
        """Sessions that could not be resumed."""
        return sum((member.losses for member in self.stage.members), Counter())

    @property
    def wire_faults(self) -> list[str]:
        """What the wire clients saw against the protocol."""
        return [fault for member in self.stage.members for fault in member.faults]

    @property
    def faults(self) -> list[str]:
        """All that is wrong, in words; nothing is what is promised."""
        kinds = {"acknowledged"} if self.plan.may_lose_accepted else set()
        found = [fault for fault in self.verdict.faults if fault.kind not in kinds]
        return [*map(str, found), *self.wire_faults]

    @property
    def is_broken(self) -> bool:
        """Whether a promise was broken, or somebody was given a snapshot for nothing.

        While two masters answer, one who goes from the new one's gateway to the old one's is given
        its snapshot, and another when they are one again: both are right.
        """
        is_reset = self.verdict.total("needless") and not self.plan.has_two_masters
        return bool(self.faults or is_reset)


async def play(
    plan: Plan, *, tell: Callable[[str], None] = tell_nothing, settle_s: float = SETTLE_S
) -> Outcome:
    """Play a scenario and judge it."""
    opened = plan.kind.ground or grounds
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        async with opened(plan, folder) as ground:
            stage = await _opened(plan, ground, tell)
            try:
                await _act(stage)
                return await _judged(stage, settle_s)
            finally:
                await stage.close()


async def _opened(plan: Plan, ground: Ground, tell: Callable[[str], None]) -> Stage:
    """Make the conversation and bring everybody in before anything is said."""
    subjects = [f"m{n}" for n in range(plan.clients)]
    others = ["log", "state", "late"]
    survey = Survey(ground)
    room, base = await survey.create(participants=subjects + others)
    stage = Stage(plan, ground, room, base, random.Random(plan.seed), tell=tell)
    for n, subject in enumerate(subjects):
        await stage.join(subject, n % 2 if plan.kind.is_busy else 0)
    return stage


async def _act(stage: Stage) -> None:
    plan = stage.plan
    load = Load(stage.members[:], pause_s=plan.pause_s, dice=stage.dice)
    if not plan.kind.is_busy:
        await _one_by_one(stage)
        return
    load.start()
    try:
        await stage.wait(1.0, 2.0)
        await _one_by_one(stage)
        await stage.wait(1.0, 2.0)
        await load.stop()
    finally:
        await load.abandon()


async def _one_by_one(stage: Stage) -> None:
    """Cause the faults; each is over when no server goes by another master than the others.

    Sentinels let a master that was replaced, and lives, go on for 8 s and more: what it took
    meanwhile is gone only then.
    """
    for fault in stage.plan.faults:
        await fault.cause(stage)
        await stage.ground.settle()
        stage.note("servers are settled")
        await stage.wait(0.5, 1.5)


def _pending(verdict: Verdict) -> bool:
    """Whether something is wrong that a client may still be told."""
    return any(fault.kind != "acknowledged" for fault in verdict.faults)


async def _judged(stage: Stage, settle_s: float) -> Outcome:
    """Judge as soon as everything is right, and at the latest after `settle_s`."""
    began_at = time.monotonic()
    survey = Survey(stage.ground)
    await eventually(
        lambda: survey.is_idle(stage.room), what="runs have ended", within_s=2 * SETTLE_S
    )
    while True:
        surviving, witnesses = await survey.take(stage.room, stage.base)
        verdict = judge([member.stream for member in stage.members] + witnesses, surviving)
        settled_s = time.monotonic() - began_at
        if not _pending(verdict) or settled_s > settle_s:
            break
        await passing(0.5)
    recovered = recoveries([member.accepted_at for member in stage.members], stage.struck_at)
    logs = stage.ground.logs
    return Outcome(stage.plan, verdict, stage, surviving, recovered, settled_s, logs)
