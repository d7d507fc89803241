"""A time limit that somebody else's clock enforces."""

from __future__ import annotations

import asyncio

import pytest

from gateway.requests.time_limit import TimeLimit


async def stuck(limit: TimeLimit, entered: asyncio.Event) -> str:
    """Wait for ever within a limit; return how that ended."""
    try:
        with limit:
            entered.set()
            await asyncio.Event().wait()
    except TimeoutError:
        return "timed out"
    return "ended"


async def test_a_block_whose_time_is_over_raises_when_it_is_checked() -> None:
    """And not before; the task goes on, as if it had never been cancelled."""
    limit, entered = TimeLimit(0.0), asyncio.Event()
    task = asyncio.create_task(stuck(limit, entered))
    await entered.wait()
    assert not task.done()
    limit.check()
    limit.check()
    assert await task == "timed out"
    assert task.cancelling() == 0


async def test_a_block_within_its_time_is_left_alone() -> None:
    """However often it is checked."""
    limit, entered = TimeLimit(3600.0), asyncio.Event()
    task = asyncio.create_task(stuck(limit, entered))
    await entered.wait()
    limit.check()
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_was_left_is_not_ended_later() -> None:
    """By a check that comes too late."""
    limit = TimeLimit(0.0)
    with limit:
        await asyncio.sleep(0)
    limit.check()
    await asyncio.sleep(0)


async def test_a_limit_counts_anew_for_each_block() -> None:
    """One connection has one, for all its requests."""
    limit, entered = TimeLimit(0.0), asyncio.Event()
    for _ in range(2):
        entered.clear()
        task = asyncio.create_task(stuck(limit, entered))
        await entered.wait()
        limit.check()
        assert await task == "timed out"


async def test_an_error_of_the_block_passes_through() -> None:
    """Its own error is told, not that of the clock."""
    with pytest.raises(KeyError), TimeLimit(0.0):
        raise KeyError
