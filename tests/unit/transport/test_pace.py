"""Connections that begin together, and those that are open meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

from gateway.transport.pace import AT_ONCE, Pace
from tests.support.eventually import eventually
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import connected, on_both_loops, serving, upgrade


async def test_so_many_begin_in_a_turn_and_the_rest_follows_in_order() -> None:
    """However many come at once."""
    loop, pace = asyncio.get_running_loop(), Pace()
    begun: list[int] = []

    def begin(number: int) -> None:
        if pace.may_begin(loop):
            begun.append(number)
        else:
            pace.wait(lambda: begun.append(number))

    counts = [0]
    for number in range(3 * AT_ONCE):
        begin(number)
    for _ in range(10):
        counts.append(len(begun))
        await asyncio.sleep(0)
    assert max(later - before for before, later in itertools.pairwise(counts)) == AT_ONCE
    assert begun == list(range(3 * AT_ONCE))


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
