"""A try in which the machine stood still does not count; any other does."""

from __future__ import annotations

import time

import pytest

from tests.support.calm import LATE_S, TRIES, in_calm


async def test_what_fails_while_the_loop_stands_still_is_tried_again():
    """Until it succeeds."""
    tries = []

    @in_calm
    async def late_twice() -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            time.sleep(LATE_S * 1.5)  # noqa: ASYNC251  # stands still
            raise AssertionError

    await late_twice()
    assert len(tries) == 3


async def test_what_fails_in_calm_has_failed():
    """At once; and so has what fails each time."""
    tries = []

    @in_calm
    async def fails() -> None:
        tries.append(len(tries))
        raise AssertionError

    @in_calm
    async def is_always_late() -> None:
        tries.append(len(tries))
        time.sleep(LATE_S * 1.5)  # noqa: ASYNC251  # stands still
        raise AssertionError

    with pytest.raises(AssertionError):
        await fails()
    assert len(tries) == 1
    with pytest.raises(AssertionError):
        await is_always_late()
    assert len(tries) == 1 + TRIES
