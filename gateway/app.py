"""Assembly: the Starlette application, with the replica it belongs to."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from gateway.agents import AgentRegistry
from gateway.clock import Clock
from gateway.connections.dataset import watch_for_ever
from gateway.connections.drain import drain
from gateway.connections.replica import Replica
from gateway.connections.ticker import tick_for_ever
from gateway.errors import StoreError
from gateway.identity.verifier import TokenVerifier
from gateway.requests.registry import HandlerRegistry
from gateway.routes.health import healthz, readyz
from gateway.routes.tickets import issue_ticket
from gateway.routes.websocket import serve_websocket
from gateway.runs.run_watch import RunWatch
from gateway.runs.worker import make_worker
from gateway.store.opening import opened_store
from gateway.store.redis.address import parse_redis_url
from gateway.tasks import doing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from gateway.settings import Settings

SOCKET_PATH = "/ws"


class Gateway(Starlette):
    """The application. `replica` is there from start-up to shutdown."""

    replica: Replica

    def __init__(self, settings: Settings, *, clock: Clock, has_worker: bool) -> None:
        self.settings = settings
        self.clock = clock
        self.registry = HandlerRegistry.load(settings.handlers)
        self.verifier = TokenVerifier(settings, clock=clock)
        self.agents = AgentRegistry.load(settings)
        self.has_worker = has_worker
        if settings.redis_url is not None:
            parse_redis_url(settings.redis_url)  # told before anything starts
        super().__init__(
            routes=[
                Route("/v1/tickets", issue_ticket, methods=["POST"]),
                Route("/healthz", healthz),
                Route("/readyz", readyz),
            ],
            lifespan=_lifespan,
        )
        self.router.redirect_slashes = False  # the Location would be the request's Host header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Sockets take the short way: there is one route, and no middleware.

        The long way through the router costs as much as the handshake.
        """
        is_socket = scope["type"] == "websocket"
        if is_socket and scope["path"] == scope.get("root_path", "") + SOCKET_PATH:
            await serve_websocket(self.replica, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def drain(self) -> None:
        """Send every client elsewhere; for the server to call before it stops."""
        replica: Replica | None = getattr(self, "replica", None)
        if replica is not None:
            await drain(replica)


def create_app(
    settings: Settings, *, clock: Clock | None = None, has_worker: bool = True
) -> Gateway:
    """Build the application; it touches nothing before its lifespan starts.

    Raises:
        SettingError: a handler module, a key or the Redis URL cannot be used.
    """
    return Gateway(settings, clock=clock or Clock(), has_worker=has_worker)


@asynccontextmanager
async def _lifespan(app: Gateway) -> AsyncIterator[None]:
    async with opened_store(app.settings, app.clock) as opened:
        replica = Replica(
            app.settings, opened.store, app.registry, app.verifier, app.agents, clock=app.clock
        )
        app.replica = replica
        await opened.store.check_durability()
        with suppress(StoreError):  # else at the first connect
            await opened.store.ids()
        duties = {
            "clocks": opened.store.sessions.keep_clocks(),
            "dataset": watch_for_ever(replica),
            "hub": replica.hub.run(),
            "keys": app.verifier.run(),
            "run-watch": RunWatch(opened.store, app.settings, clock=app.clock).run(),
            "presence": replica.presence.run(),
            "readiness": replica.readiness.run(),
            "ticker": tick_for_ever(replica),
        }
        if app.has_worker:
            duties["worker"] = make_worker(app.settings, opened, app.agents, app.clock).run()
        async with doing(duties):
            yield
            await replica.wait_until_gone()
