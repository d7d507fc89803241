"""Assembly: the Starlette application, with the replica it belongs to."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from gateway.authentication import TokenVerifier
from gateway.clock import Clock
from gateway.dispatch import Registry
from gateway.drain import drain
from gateway.endpoint import serve_websocket
from gateway.replica import Replica
from gateway.rest.health import healthz, readyz
from gateway.rest.tickets import issue_ticket
from gateway.store.embedded import EmbeddedServer
from gateway.store.store import Store
from gateway.ticker import tick_for_ever

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.websockets import WebSocket

    from gateway.settings import Settings


class Gateway(Starlette):
    """The application. `state.replica` is there from start-up to shutdown."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.registry = Registry.load(settings.handlers)
        self.verifier = TokenVerifier(settings, clock=clock)
        super().__init__(
            routes=[
                WebSocketRoute("/ws", _websocket),
                Route("/v1/tickets", issue_ticket, methods=["POST"]),
                Route("/healthz", healthz),
                Route("/readyz", readyz),
            ],
            lifespan=_lifespan,
        )

    async def drain(self) -> None:
        """Send every client elsewhere; for the server to call before it stops."""
        replica: Replica | None = getattr(self.state, "replica", None)
        if replica is not None:
            await drain(replica)


def create_app(settings: Settings, *, clock: Clock | None = None) -> Gateway:
    """Build the application; it touches nothing before its lifespan starts.

    Raises:
        SettingError: a handler module or a key cannot be used.
    """
    return Gateway(settings, clock=clock or Clock())


async def _websocket(websocket: WebSocket) -> None:
    await serve_websocket(websocket.app.state.replica, websocket)


@asynccontextmanager
async def _lifespan(app: Gateway) -> AsyncIterator[None]:
    settings = app.settings
    embedded = EmbeddedServer(settings.data_path) if settings.redis_url is None else None
    url = await embedded.ensure() if embedded is not None else settings.redis_url or ""
    store = Store(settings, url, clock=app.clock)
    replica = Replica(settings, store, app.registry, app.verifier, clock=app.clock)
    app.state.replica = replica
    try:
        await store.check_durability()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(replica.hub.run(), name="hub"),
                group.create_task(app.verifier.run(), name="keys"),
                group.create_task(tick_for_ever(replica), name="ticker"),
            ]
            if embedded is not None:
                tasks.append(group.create_task(embedded.watch(), name="embedded-server"))
            yield
            for task in tasks:
                task.cancel()
    finally:
        store.close()
        if embedded is not None:
            await embedded.stop()
