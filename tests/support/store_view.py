"""What is in Redis, seen from outside the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.keys import KINDS, KeyKind, Keys
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.support.redis_node import RedisNode

# Every key with what it is and how long it has: -1 for ever (PTTL).
CENSUS = """
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  table.insert(found, {key, redis.call('TYPE', key)['ok'], redis.call('PTTL', key)})
end
return found
"""


class StoreView:
    """The keys of one server."""

    def __init__(self, node: RedisNode) -> None:
        self.node = node

    async def keys(self, pattern: str) -> list[str]:
        """Return the names of keys by a glob pattern."""
        found = await self.node.call("KEYS", pattern)
        assert isinstance(found, list)
        return found

    async def eventually_has(self, pattern: str) -> None:
        """Wait until there is such a key."""
        await eventually(lambda: self.keys(pattern), what=f"a key {pattern}")

    async def eventually_lacks(self, pattern: str) -> None:
        """Wait until there is no such key."""

        async def is_gone() -> bool:
            return not await self.keys(pattern)

        await eventually(is_gone, what=f"no key {pattern}", within_s=15)

    async def census(self) -> list[tuple[str, str, int]]:
        """Return every key with its type and the milliseconds it has, -1 for ever."""
        found = await self.node.call("EVAL", CENSUS, 0)
        assert isinstance(found, list)
        return [(name, kind, ttl_ms) for name, kind, ttl_ms in found]

    async def undeclared(self) -> list[str]:
        """Return what is wrong with the keys: see `complaint`."""
        found = [complaint(*entry) for entry in await self.census()]
        return [text for text in found if text is not None]


def complaint(name: str, redis_type: str, ttl_ms: int) -> str | None:
    """Return why a key may not be as it is, or None.

    It must be of a kind declared in gateway/store/keys.py, of that kind's type, and expire unless
    its kind is declared to last.
    """
    kind = Keys().kind_of(name)
    if kind is None:
        return f"{name}: no declared kind"
    if redis_type != kind.redis_type:
        return f"{name}: a {redis_type}, declared as {kind.redis_type}"
    if ttl_ms < 0 and not kind.lasting:
        return f"{name}: does not expire, declared to ({kind.expiry})"
    if ttl_ms >= 0 and not kind.expiry:
        return f"{name}: expires, declared to last ({kind.lasting})"
    return None


def kind_named(name: str) -> KeyKind:
    """Return a declared kind."""
    return next(kind for kind in KINDS if kind.name == name)
