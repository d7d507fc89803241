"""Large messages at real sockets: how much of them is decoded in one turn of the loop."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from gateway.connections.loop_share import AT_ONCE_BYTES
from gateway.protocol.decoder import FrameDecoder
from tests.conformance.test_bombs import nested

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler


@pytest.mark.parametrize("as_batch", [False, True], ids=["frames", "batches"])
async def test_large_messages_of_all_connections_share_the_turns_of_the_loop(
    in_process: InProcess, dial: Dialler, monkeypatch: pytest.MonkeyPatch, as_batch: bool
) -> None:
    """Each socket had 256 KiB of them decoded and refused before anybody else had a turn."""
    gateway = await in_process()
    loop, turn, decoded = asyncio.get_running_loop(), 0, Counter[int]()
    decode_one = FrameDecoder._decode_one  # what is decoded, in a batch or not

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(next_turn)

    def counted(self: FrameDecoder, frame: str | bytes) -> object:
        decoded[turn] += len(frame)
        return decode_one(self, frame)

    monkeypatch.setattr(FrameDecoder, "_decode_one", counted)
    next_turn()
    bomb = {"type": "create_conversation", "metadata": nested(10_000)}
    clients = [await dial(gateway) for _ in range(6)]
    for client in clients:
        await client.connect()
    decoded.clear()
    for client in clients:
        if as_batch:
            await client.start_batch(*[bomb] * 6)
        else:
            for _ in range(6):
                await client.start("create_conversation", metadata=bomb["metadata"])
    for client in clients:
        await client.request("ping")
    assert sum(decoded.values()) > 36 * 32_000
    assert max(decoded.values()) < AT_ONCE_BYTES + 40_000
