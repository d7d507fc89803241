"""The agent `demo`: needs nothing from outside and shows everything (docs/protocol.md, Demo)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from gateway.agents.agent import AgentError, agent
from gateway.protocol.events import (
    Interrupt,
    StateDelta,
    StepFinished,
    StepStarted,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents.run_context import RunContext
    from gateway.protocol.events import RunEvent

ECHO_PAUSE_S = 0.02
MAX_PAUSE_MS = 60_000
MAX_COUNT = 1_000_000


@agent(takeover="resume")
async def demo(context: RunContext) -> AsyncIterator[str | RunEvent | Interrupt]:
    """Do what the message says; an attempt that resumes goes on where the last one stopped."""
    if context.resume:
        async for item in _answered(context):
            yield item
        return
    text = await context.text()
    command, _, rest = text.partition(" ")
    work = _COMMANDS.get(command)
    async for item in work(context, rest) if work else _echo(context, text):
        yield item


async def _count(context: RunContext, rest: str) -> AsyncIterator[str | RunEvent]:
    match = re.fullmatch(r"\s*(\d{1,7})(?:\s+(\d{1,5}))?\s*", rest)
    if match is None:
        yield _unless_said(context, "usage: /count N MS")
        return
    last, pause_s = min(int(match[1]), MAX_COUNT), _pause_s(match[2])
    numbers = context.emitted.split()
    for number in range(len(numbers) + 1, last + 1):
        yield f"{number}" if number == 1 else f" {number}"
        if number < last:
            await asyncio.sleep(pause_s)


async def _remember(context: RunContext, rest: str) -> AsyncIterator[str | RunEvent]:
    key, _, value = rest.strip().partition(" ")
    if not key or not value:
        yield _unless_said(context, "usage: /remember KEY VALUE")
        return
    if context.memory.get(key) != value:
        yield StateDelta(delta=[{"op": "add", "path": f"/memory/{_pointer(key)}", "value": value}])
    yield _unless_said(context, f"I will remember that {key} is {value}.")


async def _workflow(context: RunContext, rest: str) -> AsyncIterator[str | RunEvent]:
    match = re.fullmatch(r"\s*(\d{1,4})(?:\s+(\d{1,5}))?\s*", rest)
    if match is None:
        yield _unless_said(context, "usage: /workflow N MS")
        return
    total, pause_s = int(match[1]), _pause_s(match[2])
    for step in range(1, total + 1):
        name = f"step {step}"
        if context.has_done(name):
            continue
        yield StepStarted(step_name=name)
        await asyncio.sleep(pause_s)
        yield StateDelta(delta=_progress(step, total))
        yield StepFinished(step_name=name)
        await context.step(name, _done, bool)
    yield _unless_said(context, f"All {total} steps are done.")


async def _done() -> bool:
    return True


async def _tool(context: RunContext, rest: str) -> AsyncIterator[str | RunEvent]:
    name, _, arguments = rest.strip().partition(" ")
    given = _json_or_none(arguments or "{}")
    if not name or given is None:
        yield _unless_said(context, "usage: /tool NAME JSON")
        return
    call_id = f"call_{context.run_id}"
    if not context.has_done(call_id):
        if call_id not in context.open_tools:
            yield ToolCallStart(tool_call_id=call_id, tool_call_name=name)
            yield ToolCallArgs(tool_call_id=call_id, delta=json.dumps(given))
            yield ToolCallEnd(tool_call_id=call_id)
        await asyncio.sleep(ECHO_PAUSE_S)
        result = json.dumps({"tool": name, "received": given})
        yield ToolCallResult(message_id=f"{call_id}_r", tool_call_id=call_id, content=result)
    yield _unless_said(context, f"The tool {name} has answered.")


async def _approve(context: RunContext, rest: str) -> AsyncIterator[str | RunEvent | Interrupt]:
    question = rest.strip() or "May I go on?"
    yield _unless_said(context, question)
    yield Interrupt(id=f"i_{context.run_id}", reason="approval", message=question)


async def _answered(context: RunContext) -> AsyncIterator[str | RunEvent]:
    yield _unless_said(context, "\n".join(_reply_to(answer) for answer in context.resume))


def _reply_to(answer: dict[str, Any]) -> str:
    if answer["status"] == "cancelled":
        return "Nobody answered, so I leave it."
    payload = json.dumps(answer.get("payload"), ensure_ascii=False)
    return f"The answer is {payload}, so I go on."


async def _fail(context: RunContext, rest: str) -> AsyncIterator[str | RunEvent]:
    del rest
    yield _unless_said(context, "This is as far as I get")
    raise AgentError("the demo agent was told to fail", code="demo_failure")


async def _echo(context: RunContext, text: str) -> AsyncIterator[str | RunEvent]:
    words = re.findall(r"\S+\s*|^\s+", text)
    said = 0
    for word in words:
        said += len(word)
        if said > len(context.emitted):
            yield word
            await asyncio.sleep(ECHO_PAUSE_S)


_COMMANDS: dict[str, Any] = {
    "/count": _count,
    "/remember": _remember,
    "/workflow": _workflow,
    "/tool": _tool,
    "/approve": _approve,
    "/fail": _fail,
}


def _json_or_none(text: str) -> Any:  # the user's own JSON
    try:
        return json.loads(text)
    except ValueError:
        return None


def _unless_said(context: RunContext, text: str) -> str:
    """What of a text an earlier attempt has not said."""
    return text.removeprefix(context.emitted) if text.startswith(context.emitted) else text


def _pause_s(milliseconds: str | None) -> float:
    return min(int(milliseconds or "0"), MAX_PAUSE_MS) / 1000


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _progress(step: int, total: int) -> list[dict[str, Any]]:
    values: dict[str, Any] = {
        "current_step": step,
        "total_steps": total,
        "pending_steps": [f"step {later}" for later in range(step + 1, total + 1)],
    }
    return [
        {"op": "add", "path": f"/workflow/{name}", "value": value} for name, value in values.items()
    ]
