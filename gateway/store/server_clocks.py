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
    from gateway.clock import Clock
    from gateway.store.keys import Keys
    from gateway.store.redis import Redis

DRIFT_MS_PER_S = 1.0  # adjtimex(2) slews a clock by 0.5 ms a second at most; each of two may be
FRESH_S = 30.0  # bounds younger than that are not asked for anew
_log = structlog.get_logger(__name__)


class ServerClock:
    """How far a server's clock is ahead of ours.

    A reply that holds the server's time bounds that from both sides: it was made after we asked and
    before we had it. Bounds are narrowed by each reply and widen with age. A reply that does not
    fit them shows that the server's clock was set, or that it is another server: it replaces them.
    """

    __slots__ = ("_at", "_high", "_low")

    def __init__(self, server_ms: int, *, asked: float, answered: float) -> None:
        self._low, self._high = _bounds(server_ms, asked=asked, answered=answered)
        self._at = answered

    def learn(self, server_ms: int, *, asked: float, answered: float) -> None:
        """Narrow the bounds by a reply; `asked` and `answered` are monotonic seconds."""
        low, high = _bounds(server_ms, asked=asked, answered=answered)
        widened = DRIFT_MS_PER_S * max(0.0, answered - self._at)
        narrow_low, narrow_high = max(low, self._low - widened), min(high, self._high + widened)
        fits = narrow_low <= narrow_high
        self._low, self._high = (narrow_low, narrow_high) if fits else (low, high)
        self._at = answered

    def is_fresh(self, now: float) -> bool:
        """Whether it was learned from lately."""
        return now - self._at < FRESH_S

    def at(self, monotonic_s: float) -> int:
        """What time it was there at a moment here: unix milliseconds."""
        return round(monotonic_s * 1000 + (self._low + self._high) / 2)


class ServerClocks:
    """The clocks of the servers that the shards are on.

    By shard, since where a shard is may change at any time: 64 small commands every half a minute
    are cheaper than to follow that.
    """

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._shards: dict[int, ServerClock] = {}

    async def time_ms(self, shard: int, monotonic_s: float) -> int:
        """What time it was at the server of a shard at a moment here, as its scripts reckon.

        Raises:
            StoreUnavailable: it is not known, and cannot be asked now.
        """
        if shard not in self._shards:
            await self._ask(shard)
        return self._shards[shard].at(monotonic_s)

    def learn(self, shard: int, server_ms: int, *, asked: float) -> None:
        """A script of the shard, called at `asked`, has just answered that it was `server_ms`."""
        answered, known = self._clock.monotonic_s(), self._shards.get(shard)
        if known is None:
            self._shards[shard] = ServerClock(server_ms, asked=asked, answered=answered)
        else:
            known.learn(server_ms, asked=asked, answered=answered)

    async def run(self) -> None:
        """Ask for what is not known, or was not learned lately, until cancelled."""
        while True:
            now, known = self._clock.monotonic_s(), self._shards
            stale = [n for n in range(SHARDS) if n not in known or not known[n].is_fresh(now)]
            try:
                async with asyncio.TaskGroup() as group:
                    for shard in stale:
                        group.create_task(self._ask(shard), name="ask for the time")
            except* StoreError as failed:
                _log.warning("time_unknown", problem=str(failed.exceptions[0]))
            await asyncio.sleep(FRESH_S / 2)

    async def _ask(self, shard: int) -> None:
        asked = self._clock.monotonic_s()
        seconds, micros = await self._redis.execute(self._keys.of_shard(shard), "TIME")
        server_ms = int(seconds) * 1000 + int(micros) // 1000 + self._clock.offset_ms
        self.learn(shard, server_ms, asked=asked)


def _bounds(server_ms: int, *, asked: float, answered: float) -> tuple[float, float]:
    """By how many milliseconds the server is ahead: at least, at most. Its time is cut to whole."""
    return server_ms - answered * 1000, server_ms + 1 - asked * 1000
