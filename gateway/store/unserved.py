"""Runs in Redis that nobody works on, and what is done about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gateway.protocol.events import RunError
from gateway.store.calls import ConversationCalls, text
from gateway.store.keys import shard_of
from gateway.store.redis.scripts import ON_RUNS, Script
from gateway.store.run_lines import FIRST_PAUSE
from gateway.store.run_names import RunName

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.clock import Clock
    from gateway.settings import Settings
    from gateway.store.redis.declared import Value

SILENT = 1 / 2  # of a lease is left: a live worker renews when two thirds are
VOUCHED_MIN_S = 10.0  # how long a worker's word is good: it is given three times a lease


@dataclass(frozen=True, slots=True)
class Unserved:
    """Runs of a shard. `silent`: their worker is; `without_agent`: no worker has their agent."""

    silent: list[RunName]
    without_agent: list[tuple[RunName, str]]


class UnservedRuns:
    """What is known of workers, and of runs that wait for one."""

    def __init__(self, calls: ConversationCalls, clock: Clock, settings: Settings) -> None:
        self._calls = calls
        self._clock = clock
        self._settings = settings
        self._lease_ms = settings.run_lease_s * 1000
        self._vouch = Script("vouch", prelude=())
        self._unserved = Script("unserved", prelude=())
        self._interrupted = Script("interrupted", prelude=ON_RUNS)
        self._wait = Script("wait", prelude=ON_RUNS)
        self._release = Script("release", prelude=())
        self._give_up = Script("give_up", prelude=ON_RUNS)

    async def vouch(self, agents: Collection[str] = ()) -> frozenset[str]:
        """Say which agents a worker has; return those that any worker has."""
        good_ms = round(max(self._lease_ms, VOUCHED_MIN_S * 1000))
        found = await self._vouch(
            self._calls.redis,
            agents_key=self._calls.keys.agents,
            good_ms=good_ms,
            agents=tuple(agents),
        )
        return frozenset(text(name) for name in found)

    async def look(self, shard: int, agents: Collection[str]) -> Unserved:
        """Find those of a shard. `agents` are those that any worker has."""
        silent, without = await self._unserved(
            self._calls.redis,
            **self._calls.keys.queue(shard),
            clock_offset_ms=self._clock.offset_ms,
            silent_ms=self._silent_ms,
            agents=tuple(agents),
        )
        return Unserved(
            [_name_of(one) for one in silent],
            [
                (_name_of(one), text(agent))
                for one, agent in zip(without[::2], without[1::2], strict=True)
            ],
        )

    async def release(self, shard: int, worker_ids: Sequence[str]) -> int:
        """End the leases that these workers have in a shard; returns how many."""
        ended = at = 0
        while True:
            some, at = await self._release(
                self._calls.redis,
                **self._calls.keys.queue(shard),
                first=at,
                workers=worker_ids,
            )
            ended += int(some)
            if at == 0:
                return ended

    async def tell_interrupted(self, name: RunName, *, noticed_s: float) -> bool:
        """Tell the readers of a run that its worker is silent; False if it is not, or they know.

        Args:
            name: the run.
            noticed_s: how long it may take until a worker notices that the lease has ended.
        """
        pause_ms = round(self._lease_ms * FIRST_PAUSE)
        return await self._run(
            self._interrupted,
            name,
            silent_ms=self._silent_ms,
            pause_ms=pause_ms,
            notice_ms=round(noticed_s * 1000),
        )

    async def note(self, name: RunName, waits_for: Literal["agent", "worker"]) -> bool:
        """Note what a run waits for; True if that is news."""
        return await self._run(self._wait, name, what=waits_for)

    async def give_up(self, name: RunName, agent: str, *, is_any_worker: bool) -> bool:
        """End a run whose agent no worker has; False if one has it now."""
        why = f"no worker has the agent {agent!r}" if is_any_worker else "no worker is there"
        event = RunError(
            message=f"{why}; send the message again later",
            code="no_agent",
            thread_id=name.conversation_id,
            run_id=name.run_id,
        )
        kept = self._settings.context_versions
        return await self._run(
            self._give_up, name, event=msgspec.json.encode(event), kept=kept, is_durable=True
        )

    @property
    def _silent_ms(self) -> int:
        return round(self._lease_ms * SILENT)

    async def _run(
        self, script: Script, name: RunName, *, is_durable: bool = False, **named: Value
    ) -> bool:
        keys = self._calls.keys.conversation(name.tenant, name.conversation_id)
        reply: Any = await self._calls.run(
            script,
            name.caller,
            name.conversation_id,
            writes=is_durable,
            run_id=name.run_id,
            **keys.run_keys(),
            **named,
        )
        return bool(reply[0])


def shard_of_run(name: RunName) -> int:
    """In which shard a run is."""
    return int(shard_of("c", name.tenant, name.conversation_id)[2:4])  # {s07}


def _name_of(line: bytes) -> RunName:
    parts: Sequence[str] = text(line).split(":")
    return RunName(*parts)
