"""Several awaitables at once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import NotFound
from gateway.tasks import together


async def give(value: int) -> int:
    """Return a value after a turn of the loop."""
    await asyncio.sleep(0)
    return value


async def fail() -> int:
    """Fail after a turn of the loop."""
    await asyncio.sleep(0)
    raise NotFound from ValueError("why")


async def test_results_come_in_the_order_of_the_questions() -> None:
    """Whatever finishes first; nothing asked gives nothing."""
    assert await together(give(n) for n in range(5)) == [0, 1, 2, 3, 4]
    assert await together([give(7)]) == [7]
    assert await together([]) == []


@pytest.mark.parametrize("others", [0, 1, 3])
async def test_the_first_failure_itself_is_raised(others: int) -> None:
    """Callers catch errors of the tree, not groups; the cause is kept."""
    with pytest.raises(NotFound) as caught:
        await together([fail(), *(give(n) for n in range(others))])
    assert isinstance(caught.value.__cause__, ValueError)


async def test_one_failure_leaves_none_of_the_others_running() -> None:
    """They are cancelled and awaited before the failure is raised."""
    ended = asyncio.Event()

    async def for_ever() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    with pytest.raises(NotFound):
        await together([for_ever(), fail()])
    assert ended.is_set()


async def test_cancellation_reaches_all_of_them() -> None:
    """And comes out as cancellation."""
    ended = []

    async def for_ever(n: int) -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(n)
        return n

    task = asyncio.create_task(together(for_ever(n) for n in range(3)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]
