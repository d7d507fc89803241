"""Work that others share: messages at a room, and agents' runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from benchmarks.attackers.attacker import Attacker
from benchmarks.attackers.requests import batch
from benchmarks.attackers.wire import AttackSocket, message, text

READERS = 20
CONTENT = "x" * 60_000
PER_FRAME = 4  # 240 kB


class RoomBursts(Attacker):
    """Messages of 60 kB, four in a frame, at a room of twenty that read."""

    name = "room-bursts"
    unit = "messages"

    async def attack(self, number: int) -> None:
        """Open the room, and fill it."""
        names = [f"reader-{n}" for n in range(READERS)]
        socket, conversation = await self.conversation(participants=names)
        async with AsyncExitStack() as room:
            await room.enter_async_context(socket)
            for name in names:
                reader = await room.enter_async_context(await self.socket(name))
                await self._listen(reader, conversation)
            socket.count()
            await self.begun()
            while True:
                number += 1
                self.counts.attempted += PER_FRAME
                await socket.write(batch(*self._messages(conversation, number)))

    @staticmethod
    async def _listen(reader: AttackSocket, conversation: str) -> None:
        await reader.request("join_conversation", conversation_id=conversation)
        reader.listen()

    @staticmethod
    def _messages(conversation: str, number: int) -> list[bytes]:
        named = {"conversation_id": conversation, "content": CONTENT, "agent": None}
        return [
            message("send_message", client_message_id=f"m{number}-{n}", **named)
            for n in range(PER_FRAME)
        ]


class RunFlood(Attacker):
    """A run that says a number each 5 ms, in a new conversation each; nobody listens."""

    name = "runs"
    unit = "runs"

    async def attack(self, number: int) -> None:
        """Begin one after the other."""
        async with (await self.socket()).count() as socket:
            await self.begun()
            while True:
                number += 1
                self.counts.attempted += 1
                asked = message(
                    "send_message",
                    client_message_id=f"run-{number}",
                    content="/count 2000 5",
                    agent="demo",
                )
                await socket.write(text(asked))
                await asyncio.sleep(0.001)
