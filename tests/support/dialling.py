"""Dialling: clients of one tenant, closed and held to account when the test ends."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.support.tokens import mint
from tests.support.wire import WireClient

if TYPE_CHECKING:
    from tests.support.gateways import Endpoint


class Dialler:
    """Opens clients. A subject keeps its token, so that it comes back with the same one."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self._clients: list[WireClient] = []
        self._tokens: dict[tuple[str, str], str] = {}

    async def __call__(
        self,
        endpoint: Endpoint,
        subject: str = "alice",
        *,
        token: str | None = None,
        tenant: str | None = None,
        **options: Any,
    ) -> WireClient:
        """Open a client of `subject`, with its token in the query.

        Args:
            endpoint: a gateway, or a proxy before one.
            subject: who dials.
            token: instead of the subject's own.
            tenant: instead of the test's own.
            options: of `WireClient.open`.
        """
        chosen = token or self.token(subject, tenant=tenant)
        return await self.open(ws_url(endpoint, token=chosen), **options)

    async def open(self, url: str, **options: Any) -> WireClient:
        """Open a client at a whole address."""
        client = await WireClient.open(url, **options)
        self._clients.append(client)
        return client

    def token(self, subject: str, *, tenant: str | None = None) -> str:
        """Return the token of a subject, the same at every call."""
        key = (tenant or self.tenant, subject)
        if key not in self._tokens:
            self._tokens[key] = mint(subject, tenant=key[0])
        return self._tokens[key]

    async def hang_up(self) -> None:
        """Close every client; fail if the server ever went against the protocol."""
        async with AsyncExitStack() as closing:
            for client in self._clients:
                closing.push_async_callback(client.close)
        faults = [fault for client in self._clients for fault in client.faults]
        assert not faults, faults


def ws_url(endpoint: Endpoint, **query: str) -> str:
    """Return the WebSocket address of a gateway, with credentials in the query."""
    return f"ws://127.0.0.1:{endpoint.port}/ws?{urlencode(query)}"


def http_url(endpoint: Endpoint, path: str) -> str:
    """Return the HTTP address of a route of a gateway."""
    return f"http://127.0.0.1:{endpoint.port}{path}"
