"""Small frames that are much work: nested JSON, wide JSON, patches, schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.attackers.attacker import Attacker, Flood
from benchmarks.attackers.wire import AttackSocket, message, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext
    from gateway.protocol.events import Interrupt

LEVELS, KEY, LEAVES = 60, "k" * 200, 10_000
WIDE = 110_000  # numbers: 220 kB
OPERATIONS = 1_000
CONTEXT_ITEMS = 15_000
PATTERN_TEXT = "a" * 30_000 + "!"


class DeepBomb(Flood):
    """60 levels of long keys above 10,000 numbers: 35 kB, as the metadata of a conversation."""

    name = "deep-json"
    unit = "frames"

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """The same bomb each time."""
        value: Any = [1] * LEAVES
        for _ in range(LEVELS):
            value = {KEY: value}
        return (await self.socket()).count(), text(message("create_conversation", metadata=value))


class WideBomb(Flood):
    """A list of 110,000 numbers: 220 kB, as the content of a message."""

    name = "wide-json"
    unit = "frames"

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """In a conversation of its own."""
        socket, conversation = await self.conversation()
        named = {"conversation_id": conversation, "client_message_id": "m", "agent": None}
        bomb = message("send_message", content=[{"x": [1] * WIDE}], **named)
        return socket.count(), text(bomb)


class PatchBomb(Flood):
    """1,000 copies of a list inside a context of 100 kB."""

    name = "patch"
    unit = "patches"

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._conversation = ""

    async def prepare(self) -> None:
        """Fill the context."""
        socket, self._conversation = await self.conversation()
        filling = [{"op": "add", "path": "/memory/list", "value": ["xyz"] * CONTEXT_ITEMS}]
        named = {"conversation_id": self._conversation, "base_version": 0}
        async with socket:
            await socket.request("update_agent_context", patch=filling, **named)

    async def opened(self) -> tuple[AttackSocket, bytes]:
        """Copies over one another: the document stays as large as it is."""
        copy = {"op": "copy", "from": "/memory/list", "path": "/memory/copy"}
        named = {"conversation_id": self._conversation, "base_version": 1}
        bomb = message("update_agent_context", patch=[copy] * OPERATIONS, **named)
        return (await self.socket()).count(), text(bomb)


class SchemaBomb(Attacker):
    """Answers to a question whose pattern can be held against them for years."""

    name = "schema"
    unit = "answers"
    width = 4

    async def attack(self, number: int) -> None:
        """Let an agent ask, and answer at full speed."""
        socket, conversation = await self.conversation()
        async with socket:
            named = {"conversation_id": conversation}
            asked = await socket.request(
                "send_message", client_message_id=f"ask-{number}", content="?", agent="ask", **named
            )
            question = await self._question(socket, str(asked["run_id"]))
            answer = {"status": "resolved", "payload": PATTERN_TEXT, **question}
            block = text(message("respond_to_interrupt", **named, **answer))
            socket.count()
            await self.begun()
            while True:
                self.counts.attempted += 1
                await socket.write(block)

    @staticmethod
    async def _question(socket: AttackSocket, run_id: str) -> dict[str, str]:
        while True:
            event = (await socket.next()).get("event", {})
            outcome = event.get("outcome", {})
            if event.get("type") == "RUN_FINISHED" and outcome.get("type") == "interrupt":
                (interrupt,) = outcome["interrupts"]
                return {"run_id": run_id, "interrupt_id": interrupt["id"]}


async def ask(_: RunContext) -> AsyncIterator[Interrupt]:
    """Be the agent that asks; the gateway of a measurement has it as `ask`."""
    from gateway.protocol.events import Interrupt  # noqa: PLC0415  # attackers know nothing of the gateway

    yield Interrupt(id="question", reason="input", response_schema=json.loads(SCHEMA))


SCHEMA = '{"type": "string", "pattern": "^(a+)+$"}'
