"""What uvicorn is told: the protocol classes, and what they work with.

uvicorn makes a protocol object with its own `Config` as the only argument that is ours to choose,
so the limits travel on a subclass of it.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.errors import SettingError
from gateway.transport.addresses import Addresses
from gateway.transport.pace import Pace
from gateway.transport.server.lifespan import GatewayLifespan

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from uvicorn._types import ASGIApplication

    from gateway.settings import Settings
    from gateway.transport.limits import Limits


class TransportConfig(uvicorn.Config):
    """uvicorn's configuration, with ours on it. Make one with `uvicorn_config`.

    `refused` counts the answers that the transport itself gave, by HTTP status, `addresses` what
    each address has open and asks for. `surplus` has the connections above a limit, oldest first:
    they are only told so. `direct_app` is the application for a request that no proxy has
    forwarded, `loaded_app` that for any.
    """

    direct_app: Callable[..., Awaitable[None]]
    addresses: Addresses

    def __init__(
        self,
        app: ASGIApplication,
        *,
        settings: Settings,
        limits: Limits,
        http: type[asyncio.Protocol],
        ws: type[asyncio.Protocol],
    ) -> None:
        proxies = checked_proxies(settings.trusted_proxies)
        super().__init__(
            app,
            host=settings.host,
            port=settings.port,
            http=http,
            ws=ws,
            ws_max_size=settings.max_frame_bytes,
            ws_ping_interval=None,  # liveness is the protocol's own
            ws_ping_timeout=None,
            ws_per_message_deflate=settings.compression,
            lifespan="on",
            interface="asgi3",
            log_config=None,  # gateway/telemetry/logs.py has set it up
            access_log=False,
            workers=1,
            proxy_headers=False,  # see `load`
            server_header=False,
        )
        self.settings = settings
        self.limits = limits
        self._proxies = proxies
        self.refused: Counter[int] = Counter()
        self.pace = Pace()
        self.surplus: dict[asyncio.BaseProtocol, asyncio.Transport] = {}

    def load(self) -> None:
        """Load as uvicorn does, then put in what is ours.

        That is the lifespan that hands its failure back, and uvicorn's own middleware for proxies,
        with the way around it.
        """
        super().load()
        self.direct_app = self.loaded_app
        trusted = None
        if self._proxies:
            middleware = ProxyHeadersMiddleware(self.loaded_app, self._proxies)
            self.loaded_app, trusted = middleware, middleware.trusted_hosts
        self.addresses = Addresses(self.limits, trusted, monotonic)
        self.lifespan_class = GatewayLifespan


def checked_proxies(proxies: tuple[str, ...]) -> list[str]:
    """Return the proxies whose X-Forwarded-For is believed.

    Raises:
        SettingError: an entry is `*`, or no address or network. uvicorn would take it: the first
            believes what any client says of itself, the second is never equal to anything.
    """
    for proxy in proxies:
        if proxy == "*":
            raise SettingError(
                "GATEWAY_TRUSTED_PROXIES",
                "`*` would believe what any client says; name addresses or networks",
            )
        try:
            ipaddress.ip_network(proxy)
        except ValueError as exc:
            raise SettingError(
                "GATEWAY_TRUSTED_PROXIES", f"`{proxy}` is not an address or a network"
            ) from exc
    return list(proxies)
