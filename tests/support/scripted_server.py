"""A TCP server that speaks RESP, counts what arrives and answers when the test says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import hiredis

from gateway.store.redis.link import Address

if TYPE_CHECKING:
    from types import TracebackType


class ScriptedServer:
    """Every command's reply is its last word, unless `is_silent`.

    Attributes:
        commands: what came, in order, as lists of words.
        reads: how many pieces the socket gave, about as many as there were writes.
        is_silent: commands are taken and not answered until `answer_all`.
        wait_reply: what WAIT and WAITAOF are answered with.
    """

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.reads = 0
        self.is_silent = False
        self.wait_reply = b":1\r\n"
        self._owed: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.cut()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    def said(self, name: str) -> list[list[str]]:
        """Return the commands of one name."""
        return [command for command in self.commands if command[0] == name]

    def answer_all(self) -> None:
        """Send the replies that are owed."""
        owed, self._owed = self._owed, []
        for writer, reply in owed:
            writer.write(reply)

    def send(self, data: bytes) -> None:
        """Send something nobody asked for."""
        for writer in self._writers:
            writer.write(data)

    def cut(self) -> None:
        """Drop every connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        parser = hiredis.Reader(encoding="utf-8")
        try:
            while data := await reader.read(1_000_000):
                self.reads += 1
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    self._take(writer, command)
        except ConnectionError:
            return
        finally:
            writer.transport.abort()

    def _take(self, writer: asyncio.StreamWriter, command: list[str]) -> None:
        self.commands.append(command)
        last = command[-1].encode()
        reply = b"$%d\r\n%b\r\n" % (len(last), last)
        if command[0] in {"WAIT", "WAITAOF"}:
            reply = self.wait_reply
        if command[0] == "FAIL":
            reply = b"-ERR no\r\n"
        if self.is_silent:
            self._owed.append((writer, reply))
        else:
            writer.write(reply)
