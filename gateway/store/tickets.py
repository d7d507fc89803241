"""One-time tickets: a credential short enough for a URL, that expires in seconds."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import msgspec

from gateway.errors import InvalidToken
from gateway.ids import token_hash
from gateway.tokens import Identity

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.redis import Redis


class Tickets:
    """Issues tickets and takes them back, once."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings) -> None:
        self._redis = redis
        self._keys = keys
        self._ttl_ms = round(settings.ticket_ttl_s * 1000)

    async def issue(self, identity: Identity) -> str:
        """Make a ticket that stands for an identity."""
        ticket = secrets.token_urlsafe(24)
        key = self._keys.ticket(token_hash(ticket))
        await self._redis.execute(
            key, "SET", key, msgspec.json.encode(identity), "PX", self._ttl_ms
        )
        return ticket

    async def redeem(self, ticket: str) -> Identity:
        """Take a ticket: it is gone whatever comes of it.

        Raises:
            InvalidToken: unknown, used, or too old.
        """
        key = self._keys.ticket(token_hash(ticket))
        found = await self._redis.execute(key, "GETDEL", key, idempotent=False)
        if found is None:
            raise InvalidToken("the ticket is unknown, was used, or has expired")
        return msgspec.json.decode(found, type=Identity)
