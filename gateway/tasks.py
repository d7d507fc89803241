"""Several awaitables at once: all done, or the first failure and none left running.

And duties that are done while a block runs.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping


T = TypeVar("T")


async def together(coroutines: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Run them in a group; calls they make to Redis in the same tick leave in one write.

    Raises:
        The first failure itself, not a group; the others are cancelled and awaited.
    """
    todo = list(coroutines)
    if not todo:
        return []
    if len(todo) == 1:
        return [await todo[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one, name="together") for one in todo]
    except BaseExceptionGroup as several:
        first = several.exceptions[0]
        raise first from first.__cause__
    return [task.result() for task in tasks]


@asynccontextmanager
async def doing(duties: Mapping[str, Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Do these by their names while the block runs; they are cancelled and awaited at its end.

    Raises:
        What the block or a duty raised, by itself: a setting that is wrong is told as that.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(duty, name=name) for name, duty in duties.items()]
            yield
            for task in tasks:
                task.cancel()
    except BaseExceptionGroup as several:
        if len(several.exceptions) > 1:
            raise
        only = several.exceptions[0]
        raise only from only.__cause__
