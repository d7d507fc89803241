"""Floods of requests: plain, with good ones among them, and those that are dear for their size."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.attackers.attacker import Attacker, Flood
from benchmarks.attackers.wire import AttackSocket, message, text

PER_FRAME = 50
MESSAGES = 200  # to page through, of 10 kB
CONVERSATIONS = 100  # to list


def batch(*messages: bytes) -> bytes:
    """A frame of several requests."""
    return text(b"[" + b",".join(messages) + b"]")


class RequestFlood(Flood):
    """Pings, 50 in a frame, as fast as the socket takes them."""

    name = "requests"
    unit = "requests"
    per_write = PER_FRAME

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """One frame of pings."""
        return (await self.socket()).count(), batch(*[message("ping")] * PER_FRAME)


class MixedFlood(Attacker):
    """The same with one new message in each frame: it is good whenever the rate allows one."""

    name = "mixed-requests"
    unit = "requests"

    async def attack(self, number: int) -> None:
        """Each frame with a message of its own."""
        socket, conversation = await self.conversation()
        named = {"conversation_id": conversation, "content": "hello", "agent": None}
        pings = [message("ping")] * (PER_FRAME - 1)
        async with socket.count():
            await self.begun()
            while True:
                number += 1
                self.counts.attempted += PER_FRAME
                said = message("send_message", client_message_id=f"m{number}", **named)
                await socket.write(batch(said, *pings))


class Paging(Flood):
    """Pages of history of 200 messages of 10 kB, one after the other."""

    name = "history"
    unit = "pages"
    kind = "get_conversation_history"
    wanted: ClassVar[dict[str, object]] = {"limit": 200}

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._conversation = ""

    async def prepare(self) -> None:
        """Fill a conversation."""
        socket, self._conversation = await self.conversation()
        async with socket:
            for n in range(MESSAGES):
                await socket.request(
                    "send_message",
                    conversation_id=self._conversation,
                    client_message_id=f"m{n}",
                    content=f"{n} " + "some words of a message " * 420,
                    agent=None,
                )

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """One request."""
        fields = {"conversation_id": self._conversation, **self.wanted}
        return (await self.socket()).count(), text(message(self.kind, **fields))


class Searching(Paging):
    """Searches of the same that find nothing, and so look at everything."""

    name = "search"
    unit = "searches"
    kind = "search_messages"
    wanted: ClassVar[dict[str, object]] = {"query": "no such word"}


class Listing(Flood):
    """Lists of 100 conversations."""

    name = "list"
    unit = "lists"

    async def prepare(self) -> None:
        """Create them."""
        async with await self.socket() as socket:
            for n in range(CONVERSATIONS):
                await socket.request("create_conversation", title=f"number {n} " + "x" * 100)

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """One request."""
        return (await self.socket()).count(), text(message("list_conversations", limit=200))


class NeverReads(Paging):
    """Twenty sockets that ask for pages of history and read none."""

    name = "never-reads"
    width = 20

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """Like `Paging`, and nobody reads."""
        socket, block = await super().opened()
        socket.read_no_more()
        return socket, block
