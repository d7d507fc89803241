"""Connections: half-open ones, many of them, HTTP requests in a row, and coming again and again."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from benchmarks.attackers.attacker import SUBJECT, Attacker
from benchmarks.attackers.wire import CHUNK_BYTES, HOST, Ended, message, text, upgrade

HELD = 200  # sockets of each of those who hold them
PIPELINED = 20


class HalfOpenHandshakes(Attacker):
    """Sockets that send half a handshake and no more, as many as there may be."""

    name = "half-open"
    unit = "connections"
    width = 10

    async def attack(self, number: int) -> None:
        """Open 200, then open each anew that is closed."""
        del number
        await self.begun()
        half = upgrade(SUBJECT)[:60]
        async with asyncio.TaskGroup() as group:
            for _ in range(HELD):
                group.create_task(self._hold(half))

    async def _hold(self, opening: bytes) -> None:
        while True:
            self.counts.attempted += 1
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    writer.write(opening)
                    self.counts.let_through += 1
                    while await reader.read(CHUNK_BYTES):
                        pass
                    self.counts.closed += 1
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.01)


class ManySockets(HalfOpenHandshakes):
    """The same with whole handshakes: idle WebSockets of one subject, as many as there may be."""

    name = "many-sockets"

    async def attack(self, number: int) -> None:
        """Open 200, then open each anew that is closed."""
        del number
        await self.begun()
        async with asyncio.TaskGroup() as group:
            for _ in range(HELD):
                group.create_task(self._hold(upgrade(SUBJECT)))


class ReconnectStorm(Attacker):
    """Handshake, `connect`, and away again, with one token."""

    name = "reconnects"
    unit = "connects"
    width = 16

    async def attack(self, number: int) -> None:
        """Come and go."""
        del number
        await self.begun()
        self.counts.attempted += 1
        socket = await self.socket()
        try:
            await socket.write(text(message("connect")))
            while (found := await socket.next())["type"] != "session_ready":
                if found["type"] == "disconnect":
                    self.counts.closed += 1
                    raise Ended
            self.counts.let_through += 1
        finally:
            socket.abort()


class PipelinedGets(Attacker):
    """`GET /healthz`, twenty in one write, over connections that stay."""

    name = "pipelined-gets"
    unit = "requests"
    width = 4
    path = "/healthz"
    at_once = PIPELINED

    async def attack(self, number: int) -> None:
        """Write twenty, read twenty."""
        del number
        reader, writer = await asyncio.open_connection(HOST, self.port)
        request = f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        try:
            await self.begun()
            while True:
                self.counts.attempted += self.at_once
                writer.write(request * self.at_once)
                await self._answers(reader)
        finally:
            writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        missing = self.at_once
        while missing > 0:
            data = await reader.read(CHUNK_BYTES)
            if not data:
                self.counts.closed += 1
                raise Ended
            answers = data.count(b"HTTP/1.1 ")
            good = data.count(b"HTTP/1.1 2")
            self.counts.let_through += good
            self.counts.refused += answers - good
            missing -= answers


class Readiness(PipelinedGets):
    """`GET /readyz`, one after the other, over many connections."""

    name = "readyz"
    width = 32
    path = "/readyz"
    at_once = 1
