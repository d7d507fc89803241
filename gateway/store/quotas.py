"""Quotas: what a subject, or a tenant, may do of something in a window of time.

A window begins with the first and ends an hour later, or, for sessions, after a session's
lifetime. What is counted twice, since a call was repeated after its reply was lost, only makes a
quota smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.errors import RateLimited
from gateway.store.redis.scripts import Script

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.settings import Settings
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis

WINDOW_MS: Final = 3_600_000


class Quotas:
    """The quotas of all subjects and tenants."""

    def __init__(self, redis: Redis, keys: Keys, settings: Settings) -> None:
        self._redis = redis
        self._keys = keys
        self._settings = settings
        self._spend = Script("spend", prelude=())

    async def add_others(self, caller: Caller, count: int, *, field: str) -> None:
        """Count others that the caller adds to conversations or invites by name.

        Raises:
            RateLimited: it would be more than a subject may; nothing was counted.
        """
        most = self._settings.added_per_hour
        key = self._keys.subject(caller.tenant, caller.subject).quota("added")
        wait_ms = await self._spend(
            self._redis, spent_key=key, amount=count, most=most, window_ms=WINDOW_MS
        )
        if wait_ms:
            raise RateLimited(wait_ms, f"{field}: you may add {most} others an hour")

    async def create(self, tenant: str) -> None:
        """Count a conversation that somebody of the tenant creates; the subject's is enlist.lua's.

        Raises:
            RateLimited: it would be more than a tenant may; nothing was counted.
        """
        most = self._settings.tenant_created_per_hour
        key = self._keys.tenant_quota(tenant, "created")
        wait_ms = await self._spend(
            self._redis, spent_key=key, amount=1, most=most, window_ms=WINDOW_MS
        )
        if wait_ms:
            raise RateLimited(wait_ms, f"the tenant may create {most} conversations an hour")
