"""Agents that end, or do not, as nobody foresaw; GATEWAY_AGENTS names them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.agents import agent
from gateway.protocol.events import Interrupt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext


async def _exit() -> None:
    sys.exit(3)


async def _cancelled_subtask() -> None:
    subtask = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    subtask.cancel()
    await subtask


async def _cancelled_itself() -> None:
    task: asyncio.Task[Any] | None = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


async def _interrupted() -> None:
    raise KeyboardInterrupt


async def _exit_in_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_exit())
        group.create_task(asyncio.sleep(60))


async def _exit_apart() -> None:
    with contextlib.suppress(Exception):
        await asyncio.create_task(_exit())
    raise RuntimeError("it came back")


async def _exit_in_thread() -> None:
    await asyncio.to_thread(sys.exit, 3)


async def _generator_exit() -> None:
    raise GeneratorExit


WAYS = {
    "exit": _exit,
    "exit in a group": _exit_in_group,
    "exit apart": _exit_apart,
    "exit in a thread": _exit_in_thread,
    "keyboard": _interrupted,
    "generator": _generator_exit,
    "subtask": _cancelled_subtask,
    "itself": _cancelled_itself,
}


@agent(takeover="resume")
async def leaving(context: RunContext) -> AsyncIterator[str]:
    """Leave in the way the message names."""
    yield "so far"
    await WAYS[await context.text()]()


@agent(takeover="resume")
async def tidying(context: RunContext) -> AsyncIterator[str]:
    """Wait for ever; then tidy up for an hour."""
    yield "here"
    del context
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(3600)


@agent(takeover="resume")
async def deaf(context: RunContext) -> AsyncIterator[str]:
    """Wait for ever, whoever wants it to stop; a file tells it to end at last."""
    yield "here"
    path = Path(await context.text())
    while not path.exists():  # noqa: ASYNC240 -- a test touches it
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.05)


@agent(takeover="resume")
async def killing(context: RunContext) -> AsyncIterator[str]:
    """Kill the process it runs in, as one does that takes all memory."""
    yield f"{context.attempt} "
    await asyncio.sleep(0.2)  # it is said
    os.kill(os.getpid(), signal.SIGKILL)


@agent(takeover="resume")
async def threaded(context: RunContext) -> AsyncIterator[str]:
    """Call a tool that blocks a thread for as many seconds as the message says."""
    if not context.emitted:
        yield "before"
        await asyncio.to_thread(time.sleep, float(await context.text()))
    yield " after"


async def asking_several(context: RunContext) -> AsyncIterator[str | Interrupt]:
    """Ask three things at once, and tell what was answered to each."""
    if context.resume:
        answers = [(one["interruptId"], one["status"], one["payload"]) for one in context.resume]
        yield f"{sorted(answers)} of {context.resumes_run}"
        return
    yield "Three questions."
    waits_s = 1.0 if await context.text() == "soon" else 600.0
    until = (datetime.now(UTC) + timedelta(seconds=waits_s)).isoformat()
    for name in ("first", "second", "third"):
        yield Interrupt(id=name, reason="approval", message=f"{name}?", expires_at=until)


NAMES = ("leaving", "tidying", "deaf", "killing", "threaded", "asking_several")
SETTING = tuple(f"{name}=tests.promises.runs.leaving:{name}" for name in NAMES)
