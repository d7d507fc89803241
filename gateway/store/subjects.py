"""The conversations of a subject: a list of candidates, checked against membership when read.

The list is in another slot than the conversation, so the two cannot change in one step. Both have
before a request is answered, and a request that is repeated writes its line again; a line too many
is filtered by whoever reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.calls import Caller, text

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store.keys import Keys
    from gateway.store.redis import Redis


class Subjects:
    """The subjects of all tenants."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock

    async def add(self, caller: Caller, conversation_id: str) -> None:
        """Put a conversation on the list, unless it is there."""
        key = self._keys.subject(caller.tenant, caller.subject).conversations
        now_ms = round(self._clock.unix_s() * 1000)
        await self._redis.execute(key, "ZADD", key, "NX", now_ms, conversation_id)

    async def remove(self, caller: Caller, conversation_id: str) -> bool:
        """Take a conversation off the list; False if it was not on it."""
        key = self._keys.subject(caller.tenant, caller.subject).conversations
        return bool(await self._redis.execute(key, "ZREM", key, conversation_id))

    async def page(self, caller: Caller, *, before: str | None, limit: int) -> list[str]:
        """Ids of the newest `limit` conversations, or of those listed before another."""
        key = self._keys.subject(caller.tenant, caller.subject).conversations
        start = 0
        if before is not None:
            rank = await self._redis.execute(key, "ZREVRANK", key, before)
            if rank is None:
                return []
            start = rank + 1
        found = await self._redis.execute(key, "ZREVRANGE", key, start, start + limit - 1)
        return [text(item) for item in found]
