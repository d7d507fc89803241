"""What a gateway and a worker process have in common: an open store, and duties done meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.agents import AgentRegistry
from gateway.clock import Clock
from gateway.runs.run_watch import RunWatch
from gateway.runs.worker import Worker
from gateway.store.embedded.server import EmbeddedServer
from gateway.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

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


@asynccontextmanager
async def doing(duties: Mapping[str, Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Do these by their names while the block runs; they are cancelled and awaited at its end.

    Raises:
        What the block or a duty raised, by itself: a setting that is wrong is told as that.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(duty, name=name) for name, duty in duties.items()]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as several:
        if len(several.exceptions) > 1:
            raise
        only = several.exceptions[0]
        raise only from only.__cause__


def make_worker(settings: Settings, opened: Opened, agents: AgentRegistry, clock: Clock) -> Worker:
    """A worker on an open store."""
    return Worker(
        opened.store,
        settings,
        agents,
        opened.url,
        clock=clock,
        concurrency=settings.worker_concurrency,
    )


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Worker]:
    """Execute runs while the block runs; those under way at its end are given back."""
    clock = Clock()
    agents = AgentRegistry.load(settings)
    async with opened_store(settings, clock) as opened:
        worker = make_worker(settings, opened, agents, clock)
        watch = RunWatch(opened.store, settings, clock=clock)
        async with doing({"worker": worker.run(), "run-watch": watch.run()}):
            yield worker
