"""Waiting for a fact: poll a predicate until it holds or a deadline passes. Tests never sleep."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
POLL_S = 0.02


async def eventually(
    predicate: Callable[[], T | Awaitable[T]], *, what: str, within_s: float = 10.0
) -> T:
    """Return the first true answer of `predicate`.

    Args:
        predicate: a plain or async callable without arguments.
        what: the fact that is awaited, for the failure's text.
        within_s: seconds to wait; generous, since only a failing test waits them out.

    Raises:
        AssertionError: `what` did not become true in time.
    """
    deadline = time.monotonic() + within_s
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        await asyncio.sleep(POLL_S)


def eventually_blocking(predicate: Callable[[], T], *, what: str, within_s: float = 20.0) -> T:
    """Do as `eventually` for session fixtures, which run outside any event loop."""
    deadline = time.monotonic() + within_s
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(POLL_S)
    return answer


async def passing(seconds: float) -> None:
    """Let real time pass where the passing of time itself is what is tested (session lifetimes)."""
    deadline = time.monotonic() + seconds
    await eventually(
        lambda: time.monotonic() >= deadline, what="time passes", within_s=seconds + 10
    )
