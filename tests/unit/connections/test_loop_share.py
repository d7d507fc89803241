"""What is decoded in one turn of the loop, by all connections together."""

from __future__ import annotations

import asyncio

from gateway.connections.loop_share import AT_ONCE_BYTES, LARGE_BYTES, LoopShare


async def test_small_messages_do_not_count() -> None:
    """Ordinary traffic waits for nothing."""
    share = LoopShare()
    assert all(share.take(LARGE_BYTES - 1) is None for _ in range(1_000))


async def test_large_messages_wait_for_the_next_turns_in_order() -> None:
    """In each as many as fit, and one that is larger by itself."""
    share, begun = LoopShare(), list[tuple[int, int]]()
    turn = 0

    async def decode(size_bytes: int, number: int) -> None:
        waiting = share.take(size_bytes)
        if waiting is not None:
            await waiting
        begun.append((turn, number))

    sizes = [AT_ONCE_BYTES // 2] * 4 + [AT_ONCE_BYTES * 3] * 2
    tasks = [asyncio.create_task(decode(size, n)) for n, size in enumerate(sizes)]
    for turn in range(10):  # noqa: B007  # `decode` reads it
        await asyncio.sleep(0)
    assert all(task.done() for task in tasks)
    assert [number for _, number in begun] == [*range(6)]
    turns = [turn for turn, _ in begun]
    assert turns[0] == turns[1] < turns[2] == turns[3] < turns[4] < turns[5]


async def test_who_leaves_while_waiting_takes_nothing() -> None:
    """A connection that ended: the next one has its place."""
    share = LoopShare()
    assert share.take(AT_ONCE_BYTES) is None
    gone, next_one = share.take(AT_ONCE_BYTES), share.take(AT_ONCE_BYTES)
    assert gone is not None
    assert next_one is not None
    gone.cancel()
    await asyncio.sleep(0)
    assert next_one.done()
