"""The first bytes of a connection: a whole handshake becomes a WebSocket at once.

Nearly every WebSocket begins so: its request's head is the first chunk of the socket. An HTTP
connection made for it would be thrown away again; it costs several times what the handshake does.
Whatever is not such a head, or would be refused for its size or origin, is left to
`GatewayHttpProtocol`, as if it had had the connection from the beginning.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from gateway.transport.limits import MAX_HEADER_LINE_BYTES, MAX_HEADERS
from gateway.transport.uvicorn.http import GatewayHttpProtocol
from gateway.transport.websocket.connection import FastWebSocketProtocol
from gateway.transport.websocket.handshake import RequestHead, is_origin_allowed

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from gateway.transport.addresses import Address
    from gateway.transport.config import TransportConfig
    from gateway.transport.websocket.handshake import Headers

# No line of a head that is not longer than one line may be can be too long.
MAX_BYTES = MAX_HEADER_LINE_BYTES


class ParsedHead:
    """What httptools calls with the parts of a head."""

    __slots__ = ("headers", "requests", "url")

    def __init__(self) -> None:
        self.requests = 0
        self.url = b""
        self.headers: Headers = []

    def on_message_begin(self) -> None:
        """Count: another request may come before the handshake in the same chunk."""
        self.requests += 1

    def on_url(self, url: bytes) -> None:
        """Keep the URL."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers.append((name.lower(), value))


class FirstHeadProtocol(asyncio.Protocol):
    """A TCP connection of which nothing has come yet."""

    __slots__ = (
        "_address",
        "_app_state",
        "_config",
        "_is_lost",
        "_loop",
        "_peer",
        "_server_state",
        "_timer",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        config: TransportConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_lost = False
        self._address: Address | None = None
        self._peer: tuple[str, int] | None = None

    @property
    def _connections(self) -> set[Any]:
        return self._server_state.connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and give its first bytes a time limit."""
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        limits = self._config.limits
        self._peer = _address(self.transport, "peername") or get_remote_addr(self.transport)
        self._address = address = self._config.addresses.of(self._peer and self._peer[0])
        if address is not None:
            address.sockets += 1
        if len(self._connections) > limits.max_connections or (address and address.is_full):
            self._serve_http()
            return
        # Closed without an answer: there was no question.
        self._timer = self._loop.call_later(limits.head_timeout_s, self.transport.close)

    def connection_lost(self, _: Exception | None) -> None:
        """Let go."""
        self._is_lost = True
        self._leave()
        if self._address is not None:
            self._address.leave()

    def shutdown(self) -> None:
        """Close: nothing was asked."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Become a WebSocket, or an HTTP connection, in this turn of the loop or a later one."""
        if self._config.pace.may_begin(self._loop):
            self._begin(data)
        else:
            self.transport.pause_reading()
            self._config.pace.wait(lambda: self._begin_late(data))

    def _begin_late(self, data: bytes) -> None:
        if not self._is_lost and not self.transport.is_closing():
            self.transport.resume_reading()
            self._begin(data)

    def _begin(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        limits = self._config.limits
        small = len(data) <= limits.max_head_bytes
        found = handshake_in(data, self.transport, self._peer) if small else None
        if found is None or not is_origin_allowed(found[0].headers, limits.allowed_origins):
            self._serve_http().data_received(data)
        else:
            self._serve_websocket(*found)

    def _serve_websocket(self, head: RequestHead, early: bytes) -> None:
        """Hand the connection on, if its address may have it."""
        self._leave()
        websocket = FastWebSocketProtocol(
            self._config, self._server_state, self._loop, self.transport
        )
        websocket.address = address = self._address
        if address is not None:
            refusal = address.refusal(self._loop.time(), is_surplus=False)
            if refusal is not None:
                websocket.refuse(refusal)
                return
        websocket.open(head, self._app_state)
        if early:
            websocket.data_received(early)

    def _serve_http(self) -> GatewayHttpProtocol:
        """Hand the connection on; its first head has only what is left of its time."""
        http = GatewayHttpProtocol(self._config, self._server_state, self._app_state, self._loop)
        if self._timer is not None:
            http.limit_head(self._timer.when() - self._loop.time())
        self._leave()
        if self._address is not None:
            self._address.leave()  # the other counts it anew
        self.transport.set_protocol(http)
        http.connection_made(self.transport)
        return http

    def _leave(self) -> None:
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def handshake_in(
    data: bytes, transport: asyncio.Transport, client: tuple[str, int] | None
) -> tuple[RequestHead, bytes] | None:
    """Return a handshake's head and what came after it; None if the data is not just that."""
    if len(data) > MAX_BYTES or not data.startswith(b"GET "):
        return None
    parsed = ParsedHead()
    parser = httptools.HttpRequestParser(parsed)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        end = upgrade.args[0]
    except httptools.HttpParserError:
        return None
    else:
        return None
    if parsed.requests > 1 or len(parsed.headers) > MAX_HEADERS or not parsed.url.isascii():
        return None
    head = RequestHead(
        method=b"GET",
        http_version=parser.get_http_version(),
        url=parsed.url,
        headers=parsed.headers,
        scheme="wss" if is_ssl(transport) else "ws",
        server=_address(transport, "sockname") or get_local_addr(transport),
        client=client,
    )
    return head, data[end:]


def _address(transport: asyncio.Transport, which: str) -> tuple[str, int] | None:
    """Host and port of one end, without the socket object that uvicorn's way makes for it."""
    found = transport.get_extra_info(which)
    return (found[0], found[1]) if isinstance(found, tuple) else None  # four parts in IPv6
