"""Which HTTP connections are admitted: below the limit of all, and below those of their address.

A connection above a limit is surplus. It waits for its request, to be told so (503 or 429), or to
be asked for its health, which is always answered. There are `max_spare_connections` of them; one
more cuts the one that has waited longest. Who comes is never cut: silent sockets of an attacker
would keep health checks out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.transport import refusal as answers

if TYPE_CHECKING:
    import asyncio

    import uvicorn
    from uvicorn.server import ServerState

    from gateway.transport.addresses import Address
    from gateway.transport.config import TransportConfig
    from gateway.transport.refusal import Refusal
    from gateway.transport.uvicorn.guard import GuardedTransport


class LimitedHttpProtocol(HttpToolsProtocol):
    """An HTTP connection that is counted, and its requests with it."""

    transport: GuardedTransport

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._config = cast("TransportConfig", config)
        self._limits = self._config.limits
        self._address: Address | None = None  # of the socket
        self._client: Address | None = None  # of the request, if a proxy told whose it is

    def _enter(self) -> None:
        """Count the connection."""
        self._address = self._config.addresses.of(self.client and self.client[0])
        if self._address is not None:
            self._address.sockets += 1
        if self._is_above_limit():
            self._wait_in_surplus()

    def _leave(self) -> None:
        """Count it no more."""
        self._config.surplus.pop(self, None)
        self._leave_client()
        if self._address is not None:
            self._address.leave()
            self._address = None

    def _take_address(self) -> Address | None:
        """Hand over whose socket this is counted as: who takes it says when it is gone."""
        self._config.surplus.pop(self, None)
        address, self._address = self._address or self._client, None
        self._client = None
        return address

    def _limit_refusal(self) -> Refusal | None:
        """Return why nobody, or not this address, may ask now; counts the request."""
        is_surplus = self in self._config.surplus and self._is_above_limit()
        if is_surplus and len(self.connections) > self._limits.max_connections:
            return answers.FULL
        if not is_surplus:
            self._config.surplus.pop(self, None)
        address = self._address
        if address is None:
            address = self._client_behind()
            is_surplus = address is not None and address.is_full
        if address is None:
            return None
        return address.refusal(self.loop.time(), is_surplus=is_surplus)

    def _client_behind(self) -> Address | None:
        """Count the socket, until it is answered, as one of the client whom a proxy names."""
        self._leave_client()
        peer = self.client and self.client[0]
        self._client = self._config.addresses.behind(peer, self.headers)
        if self._client is not None:
            self._client.sockets += 1
        return self._client

    def _leave_client(self) -> None:
        if self._client is not None:
            self._client.leave()
            self._client = None

    def _is_above_limit(self) -> bool:
        if len(self.connections) > self._limits.max_connections:
            return True
        return self._address is not None and self._address.is_full

    def _wait_in_surplus(self) -> None:
        """Wait to be told so, or to be asked for health; who waits longest makes room."""
        surplus = self._config.surplus
        surplus[self] = self.transport
        if len(surplus) > self._limits.max_spare_connections:
            oldest = next(iter(surplus))
            self._config.refused[answers.FULL.status] += 1
            surplus.pop(oldest).abort()
