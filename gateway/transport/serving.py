"""Which protocol classes serve, and the configuration that uvicorn makes them with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.transport.config import TransportConfig
from gateway.transport.first_head import FirstHeadProtocol
from gateway.transport.limits import KEEP_ALIVE_S, MAX_BODY_BYTES, limits_of
from gateway.transport.uvicorn.http import GatewayHttpProtocol
from gateway.transport.uvicorn.websocket import GatewayWebSocketProtocol
from gateway.transport.websocket.connection import FastWebSocketProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import ASGIApplication

    from gateway.settings import Settings


def uvicorn_config(
    app: ASGIApplication,
    settings: Settings,
    *,
    keep_alive_s: float = KEEP_ALIVE_S,
    max_body_bytes: int = MAX_BODY_BYTES,
    http: type[asyncio.Protocol] | None = None,
    ws: type[asyncio.Protocol] | None = None,
) -> TransportConfig:
    """Return uvicorn's configuration with our limits and protocol classes.

    Args:
        app: an ASGI 3 application that knows the lifespan protocol.
        settings: all that is configured.
        keep_alive_s: how long an HTTP connection may idle between requests.
        max_body_bytes: the largest HTTP request body.
        http: made for each connection; hands WebSockets to `ws`, having checked limits and Origin:
            to `FastWebSocketProtocol` the transport and the head as parsed, to any other class as
            uvicorn does (`connection_made`, then `data_received` with the request's head). None:
            what fits `ws`.
        ws: made for each WebSocket; finds its limits in `config.limits`, must be in
            `server_state.connections` while it lives, offer `shutdown()` and `transport`, and put
            a `TransportControl` into its scope. None: what the settings say.

    Raises:
        SettingError: the trusted proxies cannot be used.
    """
    limits = limits_of(settings, keep_alive_s=keep_alive_s, max_body_bytes=max_body_bytes)
    ws = ws or websocket_class(settings)
    http = http or (FirstHeadProtocol if ws is FastWebSocketProtocol else GatewayHttpProtocol)
    return TransportConfig(app, settings=settings, limits=limits, http=http, ws=ws)


def websocket_class(settings: Settings) -> type[asyncio.Protocol]:
    """Return the class of WebSockets: the fast one, unless another is set or must compress."""
    if settings.compression or settings.transport == "uvicorn":
        return GatewayWebSocketProtocol
    return FastWebSocketProtocol
