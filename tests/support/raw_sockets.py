"""Clients that speak bytes, for what no well-behaved client does, and a server for them.

Tests made `on_both_loops` run under asyncio's event loop and under uvloop, and `on_both_classes`
with each class of WebSockets too. What such a class holds is asked for here by one name.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from gateway.settings import Settings
from gateway.transport import GatewayServer, uvicorn_config
from gateway.transport.websocket.connection import FastWebSocketProtocol
from tests.support.probe_app import ProbeApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LIMIT_S = 20.0
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)
TRANSPORTS = ("fast", "uvicorn")

_transport = contextvars.ContextVar("transport", default="fast")


def on_both_loops(test: Callable[[], Awaitable[None]]) -> Callable[..., None]:
    """Run an async test without fixtures under both event loops, LIMIT_S at the most."""

    @pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT_S):
                await test()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(limited())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def on_both_classes(test: Callable[[], Awaitable[None]]) -> Callable[..., None]:
    """Run an async test without fixtures under both event loops with both WebSocket classes."""

    async def chosen() -> None:
        await test()

    limited = on_both_loops(chosen)

    @pytest.mark.parametrize("transport", TRANSPORTS)
    @pytest.mark.parametrize("loop_factory", LOOPS, ids=["asyncio", "uvloop"])
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], transport: str) -> None:
        context = contextvars.copy_context()
        context.run(_transport.set, transport)
        context.run(limited, loop_factory)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def quick_settings(**settings: Any) -> Settings:
    """Return settings with short limits, on any free port."""
    chosen: dict[str, Any] = {"port": 0, "drain_window_s": 0.0, "drain_timeout_s": 1.0}
    chosen["transport"] = _transport.get()
    return Settings(**(chosen | settings))


@contextlib.asynccontextmanager
async def serving(
    app: Any = None,
    *,
    limits: dict[str, Any] | None = None,
    max_body_bytes: int = 65_536,
    keep_alive_s: float = 5.0,
    drain: Any = None,
    **settings: Any,
) -> AsyncIterator[GatewayServer]:
    """Serve `app` in this process; `limits` replace single limits."""
    config = uvicorn_config(
        app or ProbeApp(),
        quick_settings(**settings),
        keep_alive_s=keep_alive_s,
        max_body_bytes=max_body_bytes,
    )
    config.limits = replace(config.limits, **(limits or {}))
    async with GatewayServer(config, drain=drain).running() as server:
        yield server


def held(server: GatewayServer) -> Held:
    """Return the server's side of the only connection."""
    (connection,) = server.server_state.connections
    return Held(connection)


@dataclass
class Held:
    """What the server holds for a WebSocket, of either class."""

    connection: Any

    @property
    def is_fast(self) -> bool:
        """Whether it is of our own class."""
        return isinstance(self.connection, FastWebSocketProtocol)

    @property
    def queued(self) -> int:
        """Messages that the application has not received."""
        if self.is_fast:
            return self.connection._application.queued
        return self.connection.queue.qsize()

    @property
    def unparsed_bytes(self) -> int:
        """Bytes that have come and are not parsed."""
        return len(self.connection._unparsed or b"")

    @property
    def collected(self) -> bytes:
        """The fragments of a message that is not whole."""
        if self.is_fast:
            return bytes(self.connection._collected or b"")
        assert not self.connection.frames
        return bytes(self.connection._message)

    @property
    def late_pong(self) -> bytes | None:
        """The payload of the pong that waits to be written."""
        late = self.connection._late_pong
        return late if late is None or self.is_fast else late[2:]

    @property
    def is_writable(self) -> bool:
        """Whether the peer has read enough."""
        if self.is_fast:
            return self.connection.is_writable
        return self.connection.writable.is_set()

    @property
    def is_reading(self) -> bool:
        """Whether messages are given on."""
        if self.is_fast:
            return self.connection._is_reading
        return not self.connection.read_paused

    def finish(self) -> None:
        """End our side, and read on until the peer ends its own."""
        (self.connection._finish if self.is_fast else self.connection.transport.finish)()


@dataclass
class RawClient:
    """A TCP connection to the server under test."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write, and wait until the kernel has most of it."""
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, path: str, *headers: str, method: str = "GET") -> bytes:
        """Send a request without a body; return the response's head."""
        await self.send(request(path, *headers, method=method))
        return await self.head()

    async def head(self) -> bytes:
        """Read a response's head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def rest(self) -> bytes:
        """Read until the server ends, however it does."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65_536):
                received += data
        return received

    async def open(self, path: str = "/echo", *headers: str) -> None:
        """Do the WebSocket handshake."""
        await self.send(upgrade(path, *headers))
        head = await self.head()
        assert head.startswith(b"HTTP/1.1 101 "), head

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame: its first byte without FIN, and its payload."""
        first, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x7F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """Read the close frame that must come next, then the end; return its code."""
        opcode, payload = await self.frame()
        assert opcode == CLOSE, (opcode, payload)
        assert await self.rest() == b""
        return int.from_bytes(payload[:2], "big")


@contextlib.asynccontextmanager
async def connected(
    server: GatewayServer, *, stalls: bool = False, source: str = "127.0.0.1"
) -> AsyncIterator[RawClient]:
    """Connect from `source`; one that `stalls` takes a few kilobytes and then reads no more."""
    connection = socket.socket()
    if source != "127.0.0.1":
        connection.bind((source, 0))
    connection.setblocking(False)  # noqa: FBT003 -- positional only
    if stalls:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", server.bound_port))
    limit = 2_048 if stalls else 1_048_576
    reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
    try:
        yield RawClient(reader, writer)
    finally:
        if not writer.is_closing():  # asyncio 3.11 fails on what is closed already
            writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(path: str, *headers: str, method: str = "GET") -> bytes:
    """Return a request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def upgrade(path: str = "/echo", *headers: str) -> bytes:
    """Return a WebSocket handshake."""
    return request(
        path,
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    )


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0
) -> bytes:
    """Return a frame as a client sends it, masked with zeros."""
    size, mask = len(payload), 0x80 * masked
    if size < 126:
        length = struct.pack("!B", mask | size)
    elif size < 65_536:
        length = struct.pack("!BH", mask | 126, size)
    else:
        length = struct.pack("!BQ", mask | 127, size)
    return bytes([0x80 * fin | rsv << 4 | opcode]) + length + bytes(4 * masked) + payload
