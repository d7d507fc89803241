"""Another subject, who pings on time whatever happens, and remembers how long each answer took."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from benchmarks.attackers.attacker import Counts
from benchmarks.attackers.wire import AttackSocket, Ended, message, text
from benchmarks.workloads.statistics import percentile

if TYPE_CHECKING:
    from types import TracebackType

NAME = "victim"
INTERVAL_S = 0.01
LOST_S = 10.0  # what a ping counts that was not answered, as the connection was lost


class Victim:
    """Pings each 10 ms, also while earlier ones are unanswered: a stall of 2 s is 200 bad pings."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sent: dict[int, float] = {}
        self._took: list[float] = []
        self._lost = 0
        self._number = 0
        self._answered = asyncio.Event()
        self._pinging: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._pinging = asyncio.get_running_loop().create_task(self._ping_for_ever())
        await self._answered.wait()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
            with suppress(asyncio.CancelledError):
                await self._pinging

    def forget(self) -> None:
        """Begin to measure."""
        self._took.clear()
        self._lost = 0

    def seen(self) -> dict[str, float]:
        """What it saw: milliseconds, pings, connections lost. What waits counts as long as now."""
        now = time.monotonic()
        took = self._took + [now - sent for sent in self._sent.values()]
        return {
            "pings": len(took),
            "p50_ms": percentile(took, 50) * 1000,
            "p99_ms": percentile(took, 99) * 1000,
            "max_ms": max(took, default=0.0) * 1000,
            "lost": self._lost,
        }

    async def _ping_for_ever(self) -> None:
        while True:
            with suppress(Ended, OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._ping_on()
            self._lost += 1
            self._took += [LOST_S] * max(1, len(self._sent))
            self._sent.clear()
            await asyncio.sleep(INTERVAL_S)

    async def _ping_on(self) -> None:
        async with (
            await AttackSocket.open(self._port, NAME, Counts()) as socket,
            asyncio.TaskGroup() as group,
        ):
            parts = [group.create_task(part(socket)) for part in (self._hear, self._ping)]
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in parts:
                part.cancel()

    async def _ping(self, socket: AttackSocket) -> None:
        next_at = time.monotonic()
        with suppress(Ended):
            while True:
                self._number += 1
                self._sent[self._number] = next_at
                await socket.write(text(message("ping", self._number)))
                next_at += INTERVAL_S
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    async def _hear(self, socket: AttackSocket) -> None:
        with suppress(Ended):
            while True:
                self._take(await socket.next())

    def _take(self, found: dict[str, Any]) -> None:
        sent = self._sent.pop(found.get("reply_to", 0), None)
        if sent is not None:
            self._took.append(time.monotonic() - sent)
            self._answered.set()
