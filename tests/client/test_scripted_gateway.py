"""What a client does with words that no gateway says on demand: a server of the test says them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from websockets.asyncio.server import serve

from gateway_client import Cursor, EpochChanged, Event, State
from tests.client.clients import client_of
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.server import ServerConnection

C = "c_1"


class ScriptedGateway:
    """Answers `connect`, `join_conversation` and `ping`; says what the test gives it.

    `requests`: all that came, oldest first.
    """

    port = 0

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self._socket: ServerConnection | None = None

    def said(self, kind: str) -> list[dict[str, Any]]:
        """The requests of a type."""
        return [request for request in self.requests if request["type"] == kind]

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        assert self._socket is not None
        message = {"type": kind, **fields}
        is_text = self._socket.subprotocol == "gateway.v1.json"
        await self._socket.send(json.dumps(message) if is_text else msgpack.packb(message))

    async def event(self, epoch: str, offset: int) -> None:
        """Send an event."""
        event = {"type": "X"}
        await self.say("event", conversation_id=C, epoch=epoch, offset=offset, event=event)

    async def drop(self) -> None:
        """Lose the connection."""
        assert self._socket is not None
        self._socket.transport.abort()

    async def serve(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        self._socket = socket
        await self.say("hello", protocol="gateway.v1")
        async for frame in socket:
            request = json.loads(frame) if isinstance(frame, str) else msgpack.unpackb(frame)
            self.requests.append(request)
            await self._answer(request)

    async def _answer(self, request: dict[str, Any]) -> None:
        at = {"mode": "fresh", "epoch": "e", "offset": 4}
        answers = {
            "connect": {"type": "session_ready", "session_id": "s", "resume_token": "r"}
            | {"resumed": False, "conversations": {}},
            "join_conversation": {"type": "joined", "conversation_id": C, **at},
            "ping": {"type": "pong"},
        }
        if request["type"] in answers:
            answer = answers[request["type"]] | {"reply_to": request["id"]}
            await self.say(answer.pop("type"), **answer)


@asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedGateway]:
    """Listen on a free port."""
    gateway = ScriptedGateway()
    subprotocols = ["gateway.v1.json", "gateway.v1.msgpack"]
    async with serve(gateway.serve, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        gateway.port = next(iter(server.sockets)).getsockname()[1]
        yield gateway


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_events_go_on_over_a_change_of_epoch(tenant: str, codec: str) -> None:
    """Nothing is asked for, the application is told, and later the new name is acknowledged."""
    notices: list[object] = []
    async with (
        scripted() as gateway,
        client_of(gateway, tenant, codec=codec, on_notice=notices.append) as client,
    ):
        await client.join(C)
        await gateway.event("e", 5)
        await gateway.say(
            "epoch_changed",
            conversation_id=C,
            **{"from": {"epoch": "e", "offset": 5}, "to": {"epoch": "f", "offset": 5}},
        )
        await gateway.event("f", 6)
        stream = client.events()
        async with asyncio.timeout(10):
            taken = [await anext(stream) for _ in range(2)]
        assert [(item.epoch, item.offset) for item in taken if isinstance(item, Event)] == [
            ("e", 5),
            ("f", 6),
        ]
        await client.ping()
        assert len(gateway.said("join_conversation")) == 1
        changed = [notice for notice in notices if isinstance(notice, EpochChanged)]
        assert [(one.old, one.new) for one in changed] == [(Cursor("e", 5), Cursor("f", 5))]
        await gateway.drop()
        await eventually(lambda: len(gateway.said("connect")) == 2, what="it comes back")
        assert gateway.said("connect")[1]["cursors"] == {C: {"epoch": "f", "offset": 6}}


async def test_attempts_rise_over_drops_and_restarts_of_the_program(tenant: str) -> None:
    """Each `connect` has a higher number than all before it."""
    async with scripted() as gateway:
        async with client_of(gateway, tenant) as client:
            await gateway.drop()
            await eventually(
                lambda: len(gateway.said("connect")) == 2 and client.state is State.LIVE,
                what="it comes back",
            )
            state = client.export_state()
        async with client_of(gateway, tenant, state=state):
            pass
        numbers = [connect["attempt"] for connect in gateway.said("connect")]
        assert len(numbers) == 3
        assert numbers == sorted(set(numbers))
