"""The conversations of a subject: a list of candidates, checked against membership when read.

The list is in another slot than the conversation, so the two cannot change in one step. Both have
before a request is answered, and a request that is repeated writes its line again; a line too many
is filtered by whoever reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from gateway.errors import RateLimited, TooLarge
from gateway.store.calls import text
from gateway.store.quotas import WINDOW_MS
from gateway.store.redis.scripts import Script

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.identity.caller import Caller
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis

ALIKE_MAX: Final = 1000  # conversations joined in one millisecond, that a page is told apart by
PLACE_TTL_MS: Final = 86_400_000  # how long a page can begin at a conversation that was left


By = Literal["creating", "joining", "others"]


class Subjects:
    """The subjects of all tenants."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock, settings: Settings) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._settings = settings
        self._enlist = Script("enlist", prelude=())

    async def add(self, caller: Caller, conversation_id: str, *, by: By = "joining") -> bool:
        """Put a conversation on the list; False if it is there.

        Args:
            caller: whose list.
            conversation_id: what.
            by: how it comes there. `creating` counts for the subject's quota; `others` fill no
                more than half of the list, so that there is room for what the subject does.

        Raises:
            TooLarge: the list is full.
            RateLimited: the subject has created too many lately.
        """
        keys = self._keys.subject(caller.tenant, caller.subject)
        longest = self._settings.max_conversations_per_subject // (2 if by == "others" else 1)
        most = self._settings.created_per_hour
        word, *wait_ms = await self._enlist(
            self._redis,
            conversations_key=keys.conversations,
            created_key=keys.quota("created"),
            conversation=conversation_id,
            now_ms=round(self._clock.unix_s() * 1000),
            max_conversations=longest,
            max_created=most if by == "creating" else "",
            window_ms=WINDOW_MS,
        )
        if word == b"full":
            raise TooLarge(_full(caller, longest, by=by))
        if word == b"wait":
            raise RateLimited(max(1, *wait_ms), f"you may create {most} conversations an hour")
        return bool(word == b"new")

    async def strike(self, caller: Caller, conversation_id: str) -> None:
        """Take a conversation off the list that it was put on in vain."""
        key = self._keys.subject(caller.tenant, caller.subject).conversations
        await self._redis.execute(key, "ZREM", key, conversation_id)

    async def remove(self, caller: Caller, conversation_id: str) -> bool:
        """Take a conversation off the list; False if it was not on it.

        Its place is remembered for a day: somebody may be reading the list page by page.
        """
        keys = self._keys.subject(caller.tenant, caller.subject)
        key, place = keys.conversations, keys.place(conversation_id)
        score = await self._redis.execute(key, "ZSCORE", key, conversation_id)
        if score is not None:
            await self._redis.execute(place, "SET", place, score, "PX", PLACE_TTL_MS)
        return bool(await self._redis.execute(key, "ZREM", key, conversation_id))

    async def page(self, caller: Caller, *, before: str | None, limit: int) -> list[str]:
        """Ids of the newest `limit` conversations, or of those that follow after `before`.

        That one may have been left, at most a day ago; after one that never was on the list
        comes nothing.
        """
        key = self._keys.subject(caller.tenant, caller.subject).conversations
        start = 0 if before is None else await self._start_after(caller, before)
        if start is None:
            return []
        found = await self._redis.execute(key, "ZREVRANGE", key, start, start + limit - 1)
        return [text(item) for item in found]

    async def knows(self, caller: Caller, conversation_id: str) -> bool:
        """Whether a conversation is on the list, or was within the last day."""
        return await self._start_after(caller, conversation_id) is not None

    async def _start_after(self, caller: Caller, conversation_id: str) -> int | None:
        """How many come before what follows after a conversation; None if it is not known."""
        keys = self._keys.subject(caller.tenant, caller.subject)
        key, place = keys.conversations, keys.place(conversation_id)
        rank = await self._redis.execute(key, "ZREVRANK", key, conversation_id)
        if rank is not None:
            return int(rank) + 1
        score = await self._redis.execute(place, "GET", place)
        if score is None:
            return None
        newer = await self._redis.execute(key, "ZCOUNT", key, b"(" + score, "+inf")
        # Of the same millisecond, the greater name comes first
        limit = ("LIMIT", 0, ALIKE_MAX)
        alike = await self._redis.execute(key, "ZRANGEBYSCORE", key, score, score, *limit)
        return int(newer) + sum(text(each) > conversation_id for each in alike)


def _full(caller: Caller, longest: int, *, by: By) -> str:
    if by == "others":
        return f"$.subject: {caller.subject} can be added to {longest} conversations at most"
    return f"you take part in {longest} conversations, as many as you may: leave one first"
