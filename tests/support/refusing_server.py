"""A server that answers every upgrade with one HTTP status, as a proxy does that checks tokens."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class RefusingServer:
    """Where it listens."""

    port: int


@asynccontextmanager
async def refusing_server(status: int) -> AsyncIterator[RefusingServer]:
    """Listen while the block lasts."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield RefusingServer(server.sockets[0].getsockname()[1])
