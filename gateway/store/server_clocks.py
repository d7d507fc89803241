"""What time it was at a Redis server when something happened here.

Gateways do not share a clock, and a call may be carried out seconds after it was made. So what has
to be compared between gateways, such as which of two sockets was accepted first, is told in the
time of the server that compares it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import StoreError
from gateway.store.keys import SHARDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.clock import Clock
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis

DRIFT_MS_PER_S = 0.1  # of two clocks that are kept by NTP, or of crystals that are not
QUESTIONS = 5  # one after the other: of several answers one is quick
FRESH_S = 30.0  # what was learned lately is not asked for anew
_log = structlog.get_logger(__name__)


class ServerClock:
    """How far a server's clock is ahead of ours.

    A reply that holds the server's time bounds that from both sides: it was made after we asked and
    before we had it. Bounds are narrowed by each reply and widen with age. A reply that does not
    fit them shows that the server's clock was set, or that it is another server: it replaces them.
    """

    __slots__ = ("_at", "_high", "_low")

    def __init__(self, server_ms: float, *, asked: float, answered: float) -> None:
        self._low, self._high = server_ms - answered * 1000, server_ms - asked * 1000
        self._at = answered

    def learn(self, server_ms: float, *, asked: float, answered: float) -> None:
        """Narrow the bounds by a reply; `asked` and `answered` are monotonic seconds."""
        low, high = server_ms - answered * 1000, server_ms - asked * 1000
        widened = DRIFT_MS_PER_S * max(0.0, answered - self._at)
        narrow_low, narrow_high = max(low, self._low - widened), min(high, self._high + widened)
        fits = narrow_low <= narrow_high
        self._low, self._high = (narrow_low, narrow_high) if fits else (low, high)
        self._at = answered

    def is_fresh(self, now: float) -> bool:
        """Whether it was learned from lately."""
        return now - self._at < FRESH_S

    def at(self, monotonic_s: float) -> float:
        """What time it was there at a moment here: unix milliseconds, with their fraction."""
        return monotonic_s * 1000 + (self._low + self._high) / 2


class ServerClocks:
    """The clocks of the servers that shards are on.

    `route` names where a key's calls go: one place, or in a cluster each shard's, as a shard may
    move at any time. Keys of one route are on one server.
    """

    def __init__(
        self, redis: Redis, keys: Keys, clock: Clock, *, route: Callable[[str], str]
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._route = route
        self._known: dict[str, ServerClock] = {}
        self._routes = {route(key): key for key in map(keys.of_shard, range(SHARDS))}

    async def time_ms(self, key: str, monotonic_s: float) -> float:
        """What time it was at a key's server at a moment here, as its scripts reckon.

        Raises:
            StoreUnavailable: it is not known, and cannot be asked now.
        """
        route = self._route(key)
        if route not in self._known:
            await self._ask(key)
        return self._known[route].at(monotonic_s)

    def learn(self, key: str, server_ms: float, *, asked: float) -> None:
        """A script of the key, called at `asked`, has just answered that it was `server_ms`."""
        answered, route = self._clock.monotonic_s(), self._route(key)
        known = self._known.get(route)
        if known is None:
            self._known[route] = ServerClock(server_ms, asked=asked, answered=answered)
        else:
            known.learn(server_ms, asked=asked, answered=answered)

    async def run(self) -> None:
        """Ask for what is not known, or was not learned lately, until cancelled."""
        while True:
            now, known = self._clock.monotonic_s(), self._known
            try:
                async with asyncio.TaskGroup() as group:
                    for route, key in self._routes.items():
                        if route not in known or not known[route].is_fresh(now):
                            group.create_task(self._ask(key), name="ask for the time")
            except* StoreError as failed:
                _log.warning("server_time_unknown", problem=str(failed.exceptions[0]))
            await asyncio.sleep(FRESH_S / 2)

    async def _ask(self, key: str) -> None:
        for _ in range(QUESTIONS):
            asked = self._clock.monotonic_s()
            seconds, micros = await self._redis.execute(key, "TIME")
            server_ms = int(seconds) * 1000 + int(micros) / 1000 + self._clock.offset_ms
            self.learn(key, server_ms, asked=asked)
