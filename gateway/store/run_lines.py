"""The line of runs of each shard: whose runs wait for a worker, and taken one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.store.calls import ConversationCalls, text
from gateway.store.redis.scripts import Script
from gateway.store.run_names import RunName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.clock import Clock
    from gateway.settings import Settings

FIRST_PAUSE = 1 / 15  # of a lease, after a worker died with a run; 4 times as long each time


class Line(NamedTuple):
    """Whose runs: a subject of a tenant, as keys name it."""

    tenant: str
    subject: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this worker may begin, unless it is claimed anew before."""

    name: RunName
    until_ms: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in a shard.

    Attributes:
        claim: the run that was taken.
        again_s: a worker was seen to have died with a run; it may be taken after so long.
        lines: those who have runs that wait and may be taken here; in turn, 4 subjects of 16
            tenants at most.
        has_more: whether others may have some, who are full, or had no place in `lines`.
    """

    claim: Claim | None
    again_s: float | None
    lines: list[Line]
    has_more: bool


class RunLines:
    """The lines of all shards."""

    def __init__(self, calls: ConversationCalls, clock: Clock, settings: Settings) -> None:
        self._calls = calls
        self._clock = clock
        self._attempts = settings.run_attempts
        self._lease_ms = round(settings.run_lease_s * 1000)
        self._claim = Script("claim", prelude=())

    async def look(self, shard: int, agents: Sequence[str], *, full: Sequence[str] = ()) -> Found:
        """See whose runs wait in a shard; takes none."""
        return await self.claim(shard, agents, Line("", ""), full=full)

    async def claim(
        self, shard: int, agents: Sequence[str], line: Line, *, full: Sequence[str] = ()
    ) -> Found:
        """Take the first run of a line that nobody works on, of one of these agents.

        Args:
            shard: where.
            agents: those that the caller has.
            line: whose.
            full: `<tenant>` or `<tenant>:<subject>` of those who may have no more runs here.
        """
        pause_ms = round(self._lease_ms * FIRST_PAUSE)
        found: Any = await self._claim(
            self._calls.redis,
            idempotent=False,  # a claim whose reply is lost ends by its lease
            **self._calls.keys.queue(shard),
            clock_offset_ms=self._clock.offset_ms,
            lease_ms=self._lease_ms,
            max_deaths=self._attempts,
            pause_ms=pause_ms,
            of_tenant=line.tenant,
            of_subject=line.subject,
            full_count=len(full),
            names=(*full, *agents),
        )
        name, until_ms, again_ms, has_more, *waiting = found
        names = [text(one) for one in waiting]
        return Found(
            Claim(RunName(*text(name).split(":")), until_ms) if name else None,
            again_ms / 1000 if again_ms else None,
            [Line(*pair) for pair in zip(names[::2], names[1::2], strict=True)],
            bool(has_more),
        )
