"""One-time tickets: a credential short enough for a URL, that expires in seconds."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from gateway.errors import ExpiredToken, InvalidToken
from gateway.identity.tokens import Identity
from gateway.protocol.ids import token_hash

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis


class Tickets:
    """Issues tickets and takes them back, once."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings, clock: Clock) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._ttl_s = settings.ticket_ttl_s

    async def issue(self, identity: Identity) -> str:
        """Make a ticket that stands for an identity, for `lifetime_s`."""
        ticket = secrets.token_urlsafe(24)
        key = self._keys.ticket(token_hash(ticket))
        ttl_ms = max(1, round(self.lifetime_s(identity) * 1000))
        await self._redis.execute(key, "SET", key, msgspec.json.encode(identity), "PX", ttl_ms)
        return ticket

    def lifetime_s(self, identity: Identity) -> float:
        """How long a ticket for an identity is good: never longer than its token."""
        return min(self._ttl_s, max(0.0, identity.expires_at - self._clock.unix_s()))

    async def redeem(self, ticket: str) -> Identity:
        """Take a ticket: it is gone whatever comes of it.

        Raises:
            ExpiredToken: its token has expired meanwhile.
            InvalidToken: unknown, used, or too old.
        """
        key = self._keys.ticket(token_hash(ticket))
        found = await self._redis.execute(key, "GETDEL", key, idempotent=False)
        if found is None:
            raise InvalidToken("the ticket is unknown, was used, or has expired")
        identity = msgspec.json.decode(found, type=Identity)
        if self._clock.unix_s() >= identity.expires_at:
            raise ExpiredToken
        return identity
