"""What an attacker is: prepared, then at full speed until it is told to stop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.attackers.wire import AttackSocket, Ended

SUBJECT = "mallory"
REST_S = 0.01  # after a connection that was refused: no attacker gains by trying faster


@dataclass(slots=True)
class Counts:
    """What an attack came to.

    Attributes:
        attempted: pieces of work asked for, as `Attacker.unit` names them.
        let_through: those that were done.
        refused: answered with an error.
        closed: connections that the gateway ended.
    """

    attempted: int = 0
    let_through: int = 0
    refused: int = 0
    closed: int = 0

    def reset(self) -> None:
        """Begin anew: the preparation does not count."""
        self.attempted = self.let_through = self.refused = self.closed = 0


class Attacker(ABC):
    """One kind of attack, by one subject with a valid token.

    Attributes:
        name: on the command line and in the table.
        unit: what is counted.
        width: how many do it at the same time.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    width: ClassVar[int] = 1

    def __init__(self, port: int) -> None:
        self.port = port
        self.counts = Counts()
        self._waiting = asyncio.Semaphore(0)
        self._has_begun = asyncio.Event()

    async def prepare(self) -> None:  # noqa: B027  # most need nothing
        """Make what the attack needs, before anything is measured."""

    @abstractmethod
    async def attack(self, number: int) -> None:
        """Open what it takes, wait until `begun`, and go on until the end; called again then.

        Args:
            number: which of `width` it is.
        """

    async def begun(self) -> None:
        """Wait until all are ready and the attack begins; it has, when one comes back."""
        self._waiting.release()
        await self._has_begun.wait()

    async def until_ready(self) -> None:
        """Wait until all wait to begin."""
        for _ in range(self.width):
            await self._waiting.acquire()

    def begin(self) -> None:
        """Let them; the preparation does not count."""
        self.counts.reset()
        self._has_begun.set()

    async def run(self) -> None:
        """Attack until cancelled, and come back whenever it is closed."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.width):
                group.create_task(self._for_ever(number))

    async def _for_ever(self, number: int) -> None:
        while True:
            with suppress(Ended, OSError, asyncio.IncompleteReadError):
                await self.attack(number)
                continue
            await asyncio.sleep(REST_S)

    async def socket(self, subject: str = SUBJECT) -> AttackSocket:
        """Open a WebSocket."""
        return await AttackSocket.open(self.port, subject, self.counts)

    async def conversation(self, **fields: object) -> tuple[AttackSocket, str]:
        """Open a WebSocket and create a conversation, once what the attack before owes is paid."""
        socket = await self.socket()
        while True:
            made = await socket.request("create_conversation", **fields)
            if "conversation_id" in made:
                return socket, str(made["conversation_id"])
            await asyncio.sleep(made.get("retry_after_ms", 1000) / 1000)


class Flood(Attacker):
    """Sends the same frames again and again over one socket, as fast as they are taken."""

    per_write: ClassVar[int] = 1  # pieces of work in one

    @abstractmethod
    async def opened(self) -> tuple[AttackSocket, bytes]:
        """Open the socket; return it with the bytes of one write."""

    async def attack(self, number: int) -> None:
        """Write on."""
        del number
        socket, block = await self.opened()
        async with socket:
            await self.begun()
            while True:
                self.counts.attempted += self.per_write
                await socket.write(block)
