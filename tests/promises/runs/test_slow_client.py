"""A client that reads slowly gets fewer and larger pieces of a reply, and all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.eventually import eventually
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive

FILLING = "x" * 30_000
FILLINGS = 6  # 180 kB: what the kernel and the transport hold (64 to 130 kB), and half an outbox
OUTBOX_BYTES = 130_000


async def test_pieces_that_wait_for_a_slow_client_are_merged(
    own_stage: Any, arrive: Arrive
) -> None:
    """`from_offset` tells which events a frame stands for; the text is what the others read."""
    gateway = await own_stage(outbox_bytes=OUTBOX_BYTES, send_buffer_bytes=4_096)
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        alice = await arrive(gateway)
        conversation = await alice.create(participants=["slow"])
        slow = await arrive(road, "slow")
        await slow.join(conversation)
        road.stall()
        for _ in range(FILLINGS):
            await alice.send(FILLING, agent=None)
        run = await alice.sees_end(await alice.ask("1500 1", agent="restarting"))
        last = alice.client.log(conversation).offset
        road.heal()
        await eventually(
            lambda: slow.client.log(conversation).offset == last, what="the slow client has all"
        )
        pieces = [
            frame
            for frame in slow.client.log(conversation).events
            if frame["event"]["type"] == "TEXT_MESSAGE_CONTENT"
        ]
        assert "".join(frame["event"]["delta"] for frame in pieces) == run.text
        assert any(frame.get("from_offset", frame["offset"]) < frame["offset"] for frame in pieces)
        assert slow.client.disconnect is None
