"""Connections that begin together, and those that are open meanwhile."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.transport.pace import AT_ONCE, Pace
from tests.support.eventually import eventually
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import connected, on_both_loops, serving, upgrade


async def test_so_many_begin_in_a_turn_and_the_rest_follows_in_order() -> None:
    """Also what comes while others wait."""
    loop, pace = asyncio.get_running_loop(), Pace()
    begun: list[int] = []

    def begin(number: int) -> None:
        if pace.may_begin(loop):
            begun.append(number)
        else:
            pace.wait(lambda: begun.append(number))

    count = 3 * AT_ONCE
    for number in range(count):
        begin(number)
    for turn in (1, 2, 3):
        assert begun == list(range(turn * AT_ONCE))
        begin(count + turn)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert begun == [*range(count), count + 1, count + 2, count + 3]


@on_both_loops
async def test_many_that_come_together_are_all_served():
    """None is lost or answered twice; who leaves while waiting is not."""
    app = ProbeApp()
    async with serving(app) as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server)) for _ in range(4 * AT_ONCE)]
        await eventually(
            lambda: len(server.server_state.connections) == len(clients), what="all are accepted"
        )
        for client in clients:
            client.writer.write(upgrade())
        for client in clients[AT_ONCE * 2 : AT_ONCE * 3]:
            client.writer.transport.abort()
        for client in clients[: AT_ONCE * 2] + clients[AT_ONCE * 3 :]:
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        await eventually(
            lambda: len(server.server_state.connections) == 3 * AT_ONCE, what="others are gone"
        )
