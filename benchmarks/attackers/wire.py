"""A WebSocket as attackers and the victim use it: raw frames out, what comes back only counted."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from benchmarks.generator import frames
from benchmarks.generator.tokens import mint

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.attackers.attacker import Counts

HOST = "127.0.0.1"
CHUNK_BYTES = 262_144
OPEN_S = 20.0
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Authorization: Bearer {token}\r\n\r\n"
)
_ERROR, _REPLY, _GOODBYE = b'"type":"error"', b'"reply_to":', b'"type":"disconnect"'
_tokens: dict[str, str] = {}


class Ended(Exception):
    """The gateway has ended the connection, or refused it."""


def upgrade(subject: str) -> bytes:
    """The handshake of a subject."""
    if subject not in _tokens:
        _tokens[subject] = mint(subject)
    return UPGRADE.format(token=_tokens[subject]).encode()


def message(kind: str, request_id: int = 1, /, **fields: object) -> bytes:
    """One request as JSON."""
    return json.dumps({"type": kind, "id": request_id} | fields, separators=(",", ":")).encode()


def text(payload: bytes) -> bytes:
    """A text frame."""
    return frames.frame(payload)


class AttackSocket:
    """One WebSocket. Replies are read one by one until `count`, then only counted."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counts: Counts
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._counts = counts
        self._frames = frames.FrameReader()
        self._ids = itertools.count(1)
        self._counting: asyncio.Task[None] | None = None
        self._is_over = False

    @classmethod
    async def open(cls, port: int, subject: str, counts: Counts) -> Self:
        """Open one.

        Raises:
            Ended: it was refused.
        """
        async with asyncio.timeout(OPEN_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            made = cls(reader, writer, counts)
            writer.write(upgrade(subject))
            answer = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in answer[:16]:
            made.abort()
            raise Ended(answer[:32])
        return made

    async def request(self, kind: str, /, **fields: object) -> dict[str, Any]:
        """Ask, and wait for the reply; errors are replies too.

        Raises:
            Ended: the connection did.
        """
        number = next(self._ids)
        await self.write(text(message(kind, number, **fields)))
        while True:
            found = await self.next()
            if found.get("reply_to") == number:
                return found

    async def next(self) -> dict[str, Any]:
        """The next message."""
        while True:
            frame = self._frames.next()
            if frame is None:
                self._frames.feed(await self._read())
            elif frame.opcode == frames.TEXT:
                found: dict[str, Any] = json.loads(frame.payload)
                return found
            elif frame.opcode == frames.CLOSE:
                raise self._ended()

    def count(self) -> Self:
        """Read all that comes from now on, and count answers."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._count())
        return self

    def read_no_more(self) -> None:
        """Take nothing from now on; the kernel's buffers fill."""
        if self._counting is not None:
            self._counting.cancel()
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport

    def listen(self) -> None:
        """Read all that comes from now on, as fast as it comes."""
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._listen())

    async def write(self, data: bytes) -> None:
        """Write bytes when those before were taken.

        Raises:
            Ended: the connection has.
        """
        if self._is_over or self._writer.is_closing():
            raise self._ended()
        self._writer.write(data)
        try:
            await self._writer.drain()
        except OSError as exc:
            raise self._ended() from exc
        await asyncio.sleep(0)  # `drain` alone lets nobody else run

    def abort(self) -> None:
        """Drop it."""
        self._is_over = True
        self._writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._counting is not None:
            self._counting.cancel()
            with suppress(asyncio.CancelledError):
                await self._counting
        self.abort()

    def _ended(self) -> Ended:
        """Count the end once, unless it is our own."""
        if not self._is_over:
            self._is_over = True
            self._counts.closed += 1
        return Ended()

    async def _read(self) -> bytes:
        try:
            data = await self._reader.read(CHUNK_BYTES)
        except OSError as exc:
            raise self._ended() from exc
        if not data:
            raise self._ended()
        return data

    async def _listen(self) -> None:
        with suppress(Ended):
            while True:
                await self._read()

    async def _count(self) -> None:
        rest = b""
        with suppress(Ended):
            while True:
                data = rest + await self._read()
                errors = data.count(_ERROR)
                self._counts.refused += errors
                self._counts.let_through += max(0, data.count(_REPLY) - errors)
                if _GOODBYE in data:
                    raise self._ended()
                rest = data[-8:]  # shorter than what is counted: nothing is counted twice
        self._writer.transport.abort()
