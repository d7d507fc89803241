"""What a server sends that the Python client cannot read: stepped over, told of, counted.

A server of this version replaces such entries; others may not. Here a small one sends them, over a
real socket.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from gateway_client import Cursor, Event, GatewayClient, Snapshot, UnreadableEvent
from gateway_client.protocol.codec import place_in
from tests.client.driven_session import C, DrivenSession, kinds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_client import Item

# Events as JSON text, with what keeps them from being read.
BAD = {
    "null": "null",
    "broken": '{"type":"CUSTOM","value":',
    "half a character": '{"type":"CUSTOM","value":"\\ud800"}',
    "beyond a double": '{"type":"CUSTOM","value":1e999}',
    "deep": '{"type":"CUSTOM","value":%s}' % ("[" * 100_000),
}
# The same in MessagePack: a map of 1 with a text that is not UTF-8, nil, an integer.
BAD_PACKED = {"not UTF-8": b"\x81\xa1x\xa2\xff\xfe", "nil": b"\xc0", "number": b"\x07"}
GOOD = {"type": "CUSTOM", "name": "x", "value": 1}


def json_event(offset: int, event: str) -> str:
    """An `event` push as the server splices it."""
    return (
        f'{{"type":"event","conversation_id":"{C}","epoch":"e","offset":{offset},"event":{event}}}'
    )


def packed_event(offset: int, event: bytes) -> bytes:
    """The same in MessagePack."""
    push = {"type": "event", "conversation_id": C, "epoch": "e", "offset": offset, "event": 0}
    whole = msgspec.msgpack.encode(push)
    assert whole.endswith(b"\x00")
    return whole[:-1] + event


class Server:
    """A gateway that says what it was given once a client has joined.

    Attributes:
        port: where it listens.
        links: how many sockets were opened.
    """

    def __init__(self, codec: str, frames: list[str | bytes]) -> None:
        self.port = 0
        self.links = 0
        self._codec: Any = msgspec.msgpack if codec == "msgpack" else msgspec.json
        self._is_binary = codec == "msgpack"
        self._frames = frames

    async def speak(self, socket: ServerConnection) -> None:
        """Serve one socket."""
        self.links += 1
        async for frame in socket:
            request = self._codec.decode(frame)
            if request["type"] == "connect":
                await self._send(
                    socket, type="session_ready", session_id="s", resume_token="r",
                    resumed=False, conversations={}, reply_to=request["id"],
                )  # fmt: skip
            elif request["type"] == "join_conversation":
                await self._send(
                    socket, type="joined", conversation_id=C, mode="fresh", epoch="e", offset=0,
                    replayed=0, reply_to=request["id"],
                )  # fmt: skip
                for one in self._frames:
                    await socket.send(one)

    async def _send(self, socket: ServerConnection, **message: object) -> None:
        data = self._codec.encode(message)
        await socket.send(data if self._is_binary else data.decode())


@asynccontextmanager
async def served(codec: str, frames: list[str | bytes]) -> AsyncIterator[Server]:
    """Run such a server."""
    server = Server(codec, frames)
    async with serve(
        server.speak,
        "127.0.0.1",
        0,
        subprotocols=[f"gateway.v1.{codec}"],  # type: ignore[list-item]
    ) as listening:
        server.port = next(iter(listening.sockets)).getsockname()[1]
        yield server


async def items_of(server: Server, codec: Any, count: int) -> tuple[list[Item], GatewayClient]:
    """What a client is given by such a server, and the client as it was then."""
    async with GatewayClient(f"ws://127.0.0.1:{server.port}/ws", token="t", codec=codec) as client:
        await client.join(C)
        stream = client.events()
        async with asyncio.timeout(10):
            return [await anext(stream) for _ in range(count)], client


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_event_that_is_no_json_is_stepped_over(bad: str) -> None:
    """The application is told where it stood; the link stays, and what follows comes."""
    frames: list[str | bytes] = [json_event(1, bad), json_event(2, json.dumps(GOOD))]
    async with served("json", frames) as server:
        (skipped, following), client = await items_of(server, "json", 2)
    assert isinstance(skipped, UnreadableEvent)
    assert (skipped.conversation_id, skipped.cursor) == (C, Cursor("e", 1))
    assert skipped.problem
    assert isinstance(following, Event)
    assert (following.offset, following.data) == (2, GOOD)
    assert (client.unreadable, server.links) == (1, 1)


@pytest.mark.parametrize("bad", BAD_PACKED.values(), ids=BAD_PACKED)
async def test_event_that_is_no_messagepack_is_stepped_over(bad: bytes) -> None:
    """The same in the other codec."""
    frames: list[str | bytes] = [
        packed_event(1, bad),
        packed_event(2, msgspec.msgpack.encode(GOOD)),
    ]
    async with served("msgpack", frames) as server:
        (skipped, following), client = await items_of(server, "msgpack", 2)
    assert isinstance(skipped, UnreadableEvent)
    assert isinstance(following, Event)
    assert (skipped.offset, following.offset, client.unreadable, server.links) == (1, 2, 1, 1)


def test_merged_event_that_cannot_be_read_stands_for_all_it_names():
    """Its `from_offset` counts; the cursor moves past it and is acknowledged."""
    driven = DrivenSession().joined(offset=4)
    frame = json_event(7, "{").replace('"event":{', '"from_offset":5,"event":{')
    driven.session.receive(frame, driven.now)
    driven.event(8)
    assert [driven.take().offset for _ in range(2)] == [7, 8]
    assert driven.session.reader.cursor(C) == Cursor("e", 8)
    assert driven.session.fault is None
    driven.take()
    assert kinds(driven.pass_time(3)) == ["ack"]


def test_parts_of_a_snapshot_that_cannot_be_read_are_left_out():
    """Else the same snapshot would come after every reconnection."""
    driven = DrivenSession().joined(offset=4)
    good = {"message_id": "m1", "seq": 1, "role": "user", "content": "hi"}
    driven.receive(
        type="snapshot",
        conversation_id=C,
        epoch="f",
        offset=9,
        messages=[good, None, {"message_id": 3}],
        context={"conversation_id": C, "version": "x"},
        active_run=17,
    )
    snapshot = driven.take()
    assert isinstance(snapshot, Snapshot)
    assert [message.message_id for message in snapshot.messages] == ["m1"]
    assert (snapshot.context, snapshot.active_run) == (None, None)
    assert driven.session.intake.unreadable == 4
    assert driven.session.fault is None


@pytest.mark.parametrize("frame", ["{", b"\xc1", '{"type":"event","epoch":"e"', b"\x80"])
def test_frame_that_tells_no_place_is_none_to_step_over(frame: str | bytes):
    """It is a fault of the link: what is lost with it is asked for anew."""
    assert place_in(frame, problem="x") is None
