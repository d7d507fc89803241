"""Floods of what has no answer, and of what is not read: counted, bounded, and told."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.raw_sockets import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    TRANSPORTS,
    RawClient,
    connected,
    frame,
    upgrade,
)

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint

on_both = pytest.mark.parametrize("transport", TRANSPORTS)
MB = 1_000_000
BURST = 50  # requests; sixteen frames that are no message count as one
FLOODS = {
    "pings": frame(PING) * 16,
    "pongs": frame(PONG, b"x") * 16,
    "empty messages": frame(TEXT),
    "empty batches": frame(TEXT, b"[]"),
}


def raw(gateway: Endpoint) -> Any:
    """Connect a client that speaks bytes."""
    return connected(SimpleNamespace(bound_port=gateway.port))  # type: ignore[arg-type]


async def last_words(client: RawClient) -> tuple[list[dict[str, Any]], int]:
    """Read until the close frame; return the messages and the close code."""
    messages = []
    while (received := await client.frame())[0] != CLOSE:
        if received[0] == TEXT:
            messages.append(json.loads(received[1]))
    return messages, int.from_bytes(received[1][:2], "big")


@on_both
@pytest.mark.parametrize("kind", FLOODS)
async def test_flood_of_frames_without_a_message_is_closed_with_4103(
    in_process: InProcess, dial: Dialler, transport: str, kind: str
) -> None:
    """It is told so, before the close; as many as a normal client sends are no matter."""
    gateway = await in_process(transport=transport, requests_per_s=1, requests_burst=BURST)
    async with raw(gateway) as client:
        await client.open(f"/ws?token={dial.token('evil')}")
        await client.send(FLOODS[kind] * (BURST // 2))
        await client.send(frame(TEXT, b'{"type":"ping","id":1}'))
        while b'"pong"' not in (await client.frame())[1]:
            pass
        client.writer.write(FLOODS[kind] * (BURST * 3))
        messages, code = await last_words(client)
    told = messages[-1]
    assert (told["type"], told["code"], told["reason"]) == ("disconnect", 4103, "rate_limited")
    assert told["retry_after_ms"] >= 1000
    assert code == 4103


@on_both
async def test_flood_of_fragments_is_closed_with_4103(
    in_process: InProcess, dial: Dialler, transport: str
) -> None:
    """They need not have a byte, and the message they belong to need not end."""
    gateway = await in_process(transport=transport, requests_per_s=1, requests_burst=BURST)
    async with raw(gateway) as client:
        await client.open(f"/ws?token={dial.token('evil')}")
        client.writer.write(frame(TEXT, fin=False))
        client.writer.write(frame(CONTINUATION, fin=False) * (16 * BURST * 3))
        messages, code = await last_words(client)
    assert messages[-1]["code"] == code == 4103


@on_both
async def test_flood_charges_the_subject_and_nobody_else(
    in_process: InProcess, dial: Dialler, transport: str
) -> None:
    """Its other connections have less left; another subject has all of its own."""
    gateway = await in_process(
        transport=transport,
        subject_requests_per_s=0.001,
        subject_requests_burst=BURST,
    )
    victim, other = await dial(gateway, "victim"), await dial(gateway, "evil")
    assert (await other.request("ping"))["type"] == "pong"
    async with raw(gateway) as client:
        await client.open(f"/ws?token={dial.token('evil')}")
        await client.send(FLOODS["pings"] * (BURST - 10))
        await client.send(frame(TEXT, b'{"type":"ping"}'))
        while b'"pong"' not in (await client.frame())[1]:
            pass
        answers = [await other.answer_to(await other.start("ping")) for _ in range(12)]
    assert "rate_limited" in [answer.get("code") for answer in answers]
    for _ in range(BURST - 1):
        assert (await victim.request("ping"))["type"] == "pong"


@on_both
async def test_websocket_pings_are_life(
    in_process: InProcess, dial: Dialler, transport: str
) -> None:
    """Any frame counts: who sends only those is not silent."""
    gateway = await in_process(transport=transport)
    witness = await dial(gateway)
    async with raw(gateway) as client:
        await client.open(f"/ws?token={dial.token('bob')}")
        gateway.clock.advance(30)
        for payload in (b"1", b"2"):
            await client.send(frame(PING, payload))
            while await client.frame() != (PONG, payload):
                pass
            if payload == b"1":
                gateway.clock.advance(10)
                assert await witness.closed() == 4002  # whoever was silent for 40 s


@on_both
async def test_frames_read_ahead_are_bounded_by_their_bytes(
    in_process: InProcess, dial: Dialler, transport: str
) -> None:
    """Text with one large character takes four times its bytes: 64 such frames were 63 MB.

    The client does not read, so that its requests wait behind their answers.
    """
    gateway = await in_process(transport=transport, send_buffer_bytes=16_384)
    alice = await dial(gateway)
    conversation = await alice.create()
    for number in range(4):
        text = "x" * 60_000
        await alice.request(
            "send_message",
            conversation_id=conversation,
            client_message_id=f"m{number}",
            content=text,
            agent=None,
        )
    request = json.dumps(
        {
            "type": "get_conversation_history",
            "conversation_id": conversation,
            "x": "🦜" + "x" * 240_000,
        },
        ensure_ascii=False,
    )
    flood = frame(TEXT, request.encode())
    handshake = upgrade(f"/ws?token={dial.token('alice')}")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            await asyncio.to_thread(send_until_held_back, client, gateway.port, handshake, flood)
            held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held < 12 * MB


def send_until_held_back(client: socket.socket, port: int, handshake: bytes, flood: bytes) -> None:
    """Send up to a hundred frames, as far as they are taken, and read nothing."""
    client.settimeout(2)
    client.connect(("127.0.0.1", port))
    client.sendall(handshake)
    client.recv(2_048)
    with suppress(TimeoutError):
        for _ in range(100):
            client.sendall(flood)
