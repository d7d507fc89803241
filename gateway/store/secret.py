"""The deployment's secret: it belongs to the dataset that it was read from."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import structlog

from gateway.protocol.ids import IdMaker

if TYPE_CHECKING:
    from gateway.store.keys import Keys
    from gateway.store.redis.client import Redis

SECRET_BYTES = 32
MARK_BYTES = 16  # after the secret: of the dataset, random
_log = structlog.get_logger(__name__)


class Secret:
    """Seals resume tokens and derives ids; made by whichever process finds none.

    A Redis that comes back empty, or as another deployment's, has another secret or none: replicas
    that went on with the one they know would give one message two ids. So it is read again each
    second (gateway/connections/dataset.py). A process that knows the last one offers that, so that
    all agree; a mark after it tells all that the dataset is another one.
    """

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.secret
        self._known: tuple[bytes, IdMaker] | None = None

    async def ids(self) -> IdMaker:
        """The maker of derived ids, as of the last look.

        Raises:
            StoreUnavailable: the secret was never read, and cannot be.
        """
        _, ids = self._known or await self._read(secrets.token_bytes(SECRET_BYTES))
        return ids

    async def refresh(self) -> bool:
        """Read it again; True if this is not the dataset that it was read from.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        if self._known is None:
            await self.ids()
            return False
        return self._known is not await self._read(self._known[0][:SECRET_BYTES])

    async def _read(self, secret: bytes) -> tuple[bytes, IdMaker]:
        """Read what is there; if that is nothing, a secret with a mark of its own."""
        offered = secret + secrets.token_bytes(MARK_BYTES)
        found = await self._redis.execute(self._key, "SET", self._key, offered, "NX", "GET")
        known = self._known
        if known is None or known[0] != found:
            if known is not None:
                _log.error("dataset_replaced", is_empty=found is None)
            kept = offered if found is None else found
            known = self._known = (kept, IdMaker(kept[:SECRET_BYTES]))
        return known
