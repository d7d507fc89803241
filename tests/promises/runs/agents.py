"""Agents of the tests: GATEWAY_AGENTS names them, the processes under test run them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.agents import AgentError, agent
from gateway.protocol.events import (
    Interrupt,
    StateDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext
    from gateway.protocol.events import RunEvent

NOVEL = " ".join(f"w{number:06d}" for number in range(250_000))  # 2 MB
PAGE_CHARS = 8_000
ODD_CALL_ID = 'call "odd" \\ ü'
SCHEMA = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
SOON_S = 0.5


async def counted(text: str) -> AsyncIterator[str]:
    """`N MS`: 1 to N, always from the beginning."""
    last, pause_ms = (int(word) for word in text.split())
    for number in range(1, last + 1):
        yield f"{number}" if number == 1 else f" {number}"
        await asyncio.sleep(pause_ms / 1000)


@agent(takeover="restart")
async def restarting(context: RunContext) -> AsyncIterator[str]:
    """Count; begin anew when a worker dies."""
    async for piece in counted(await context.text()):
        yield piece


@agent(takeover="fail")
async def failing(context: RunContext) -> AsyncIterator[str]:
    """Count; fail when a worker dies."""
    async for piece in counted(await context.text()):
        yield piece


@agent(takeover="resume")
async def novel(context: RunContext) -> AsyncIterator[str]:
    """Say 2 MB."""
    for start in range(len(context.emitted), len(NOVEL), PAGE_CHARS):
        yield NOVEL[start : start + PAGE_CHARS]
        await asyncio.sleep(0.005)


@agent(takeover="resume")
async def whole(context: RunContext) -> AsyncIterator[str]:
    """Say all at once, as a model does that does not stream."""
    if not context.emitted:
        yield f"You said: {await context.text()}"


@agent(takeover="resume")
async def silent(context: RunContext) -> AsyncIterator[str]:
    """Say nothing, for ever."""
    del context
    await asyncio.Event().wait()
    yield "never"


@agent(takeover="resume")
async def held(context: RunContext) -> AsyncIterator[str]:
    """Say `held`, wait until the file that the message names is there, and say a last word."""
    if not context.emitted:
        yield "held"
    path = Path(await context.text())
    while not path.exists():  # noqa: ASYNC110, ASYNC240 -- a test touches it, in another process
        await asyncio.sleep(0.01)
    yield ", released".removeprefix(context.emitted.removeprefix("held"))


@agent(takeover="restart")
async def blocking(context: RunContext) -> AsyncIterator[str]:
    """Block the event loop for as many seconds as the message says."""
    yield "before"
    await asyncio.sleep(0.1)
    time.sleep(float(await context.text()))  # noqa: ASYNC251 -- the fault that is tested
    yield " after"


@agent(takeover="restart")
async def calling(context: RunContext) -> AsyncIterator[str | RunEvent]:
    """Call a tool that takes as many milliseconds as the message says; its id is an odd one."""
    yield "I ask. "
    yield ToolCallStart(tool_call_id=ODD_CALL_ID, tool_call_name="slow")
    yield ToolCallArgs(tool_call_id=ODD_CALL_ID, delta='{"a":')
    yield ToolCallArgs(tool_call_id=ODD_CALL_ID, delta="1}")
    yield ToolCallEnd(tool_call_id=ODD_CALL_ID)
    await asyncio.sleep(float(await context.text()) / 1000)
    yield ToolCallResult(message_id="r1", tool_call_id=ODD_CALL_ID, content='it says "ü"')
    yield "It answered."


async def asking(context: RunContext) -> AsyncIterator[str | Interrupt]:
    """Ask for `{"yes": true}`, always as `the_question`; `soon` makes the deadline short."""
    if context.resume:
        yield f"Answer: {json.dumps(context.resume[0]['payload'])}"
        return
    yield "May I?"
    if await context.text() == "soon":
        until = datetime.now(UTC) + timedelta(seconds=SOON_S)
        yield Interrupt(
            id="the_question", reason="approval", message="May I?", expires_at=until.isoformat()
        )
    else:
        yield Interrupt(
            id="the_question", reason="approval", message="May I?", response_schema=SCHEMA
        )


async def asking_pattern(_: RunContext) -> AsyncIterator[Interrupt]:
    """Ask for a text of a pattern that some texts can be held against for years."""
    schema = {"type": "string", "pattern": "^(a+)+$"}
    yield Interrupt(id="the_question", reason="input", response_schema=schema)


async def prompting(context: RunContext) -> AsyncIterator[str]:
    """Say what a model would be given."""
    yield json.dumps([[message.role, message.text()] for message in await context.messages()])


@agent(takeover="resume")
async def stepping(context: RunContext) -> AsyncIterator[str]:
    """`N MS`: N journaled steps, each with a result that no repetition would bring again."""
    steps, pause_ms = (int(word) for word in (await context.text()).split())

    async def work() -> str:
        await asyncio.sleep(pause_ms / 1000)
        return secrets.token_hex(4)

    said = 0
    for number in range(steps):
        result = f"{number}:{await context.step(f'step{number}', work, str)} "
        said += len(result)
        if said > len(context.emitted):
            yield result


async def noting(context: RunContext) -> AsyncIterator[str | RunEvent]:
    """`N MS`: put N notes into memory, one by one."""
    last, pause_ms = (int(word) for word in (await context.text()).split())
    for number in range(last):
        note = {"op": "add", "path": f"/memory/note{number}", "value": number}
        yield StateDelta(delta=[note])
        await asyncio.sleep(pause_ms / 1000)
    yield "noted"


@agent(takeover="resume")
async def untidy(context: RunContext) -> AsyncIterator[str]:
    """Fail while being stopped, as clean-up code does that was never tried."""
    if context.attempt > 1:
        yield " tidy"
        return
    yield "untidy"
    try:
        await asyncio.Event().wait()
    finally:
        raise ValueError("clean-up failed")


@agent(takeover="resume")
async def stubborn(context: RunContext) -> AsyncIterator[str]:
    """Count for ever, whoever wants it to stop."""
    number = len(context.emitted.split())
    while True:
        number += 1
        yield f"{number} "
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.02)


async def broken(context: RunContext) -> AsyncIterator[str]:
    """Fail in the way the message names."""
    yield "so far"
    await asyncio.sleep(0.05)
    match await context.text():
        case "surrogate":
            yield "\ud800"
        case "surrogate in the error":
            raise AgentError("half a \ud800 character", code="half")
        case "patch":
            yield StateDelta(delta=[{"op": "remove", "path": "/memory/nothing"}])
        case "huge patch":
            yield StateDelta(delta=[{"op": "add", "path": "/memory/x", "value": "x" * 300_000}])
        case "interrupt":
            yield Interrupt(id="not an identifier!", reason="approval")
        case _:
            raise RuntimeError("an internal detail")


NAMES = (
    *("restarting", "failing", "novel", "whole", "silent", "held", "blocking", "calling"),
    *(
        "asking",
        "asking_pattern",
        "prompting",
        "stepping",
        "noting",
        "untidy",
        "broken",
        "stubborn",
    ),
)
SETTING = tuple(f"{name}=tests.promises.runs.agents:{name}" for name in NAMES)
