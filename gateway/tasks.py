"""Several awaitables at once: all done, or the first failure and none left running."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

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
