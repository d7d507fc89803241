"""An open store, with the Redis behind it: the operator's, or an embedded one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.store.embedded.server import EmbeddedServer
from gateway.store.store import Store
from gateway.tasks import doing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.clock import Clock
    from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Opened:
    """An open store, and the URL of the Redis behind it."""

    store: Store
    url: str


@asynccontextmanager
async def opened_store(settings: Settings, clock: Clock) -> AsyncIterator[Opened]:
    """Open the store; without a Redis URL, on an embedded server that is kept alive meanwhile.

    Raises:
        SettingError, NoServerBinary, DataFolderInUse: it cannot be; says what to do.
    """
    if settings.redis_url is not None:
        store = Store(settings, settings.redis_url, clock=clock)
        try:
            async with doing({"redis": store.redis.watch(), "redis-risks": store.tell_risks()}):
                yield Opened(store, settings.redis_url)
        finally:
            store.close()
        return
    embedded = EmbeddedServer.of(settings)
    url = await embedded.ensure()
    store = Store(settings, url, clock=clock)
    try:
        async with doing({"embedded-server": embedded.watch(), "redis": store.redis.watch()}):
            yield Opened(store, url)
    finally:
        store.close()
        await embedded.stop()
