"""Agents that say, keep and ask much: the message names how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.agents import agent
from gateway.protocol.events import Custom, Interrupt, ToolCallEnd, ToolCallResult, ToolCallStart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext
    from gateway.protocol.events import RunEvent


async def _numbers(context: RunContext) -> tuple[int, int]:
    count, size = (int(word) for word in (await context.text()).split())
    return count, size


async def asking_much(context: RunContext) -> AsyncIterator[str | Interrupt]:
    """`COUNT BYTES`: so many questions, each of so many bytes."""
    if context.resume:
        yield f"{len(context.resume)} answers"
        return
    count, size = await _numbers(context)
    yield "I ask."
    for number in range(count):
        yield Interrupt(id=f"q{number}", reason="input", message="?" * size)


@agent(takeover="resume")
async def calling_much(context: RunContext) -> AsyncIterator[str | RunEvent]:
    """`COUNT BYTES`: so many tool calls, each with a result of so many bytes."""
    count, size = await _numbers(context)
    for number in range(count):
        call = f"{context.run_id}_{number}"
        yield ToolCallStart(tool_call_id=call, tool_call_name="fetch")
        yield ToolCallEnd(tool_call_id=call)
        yield ToolCallResult(message_id=f"{call}_r", tool_call_id=call, content="r" * size)
    yield "called"


async def telling_much(context: RunContext) -> AsyncIterator[str | RunEvent]:
    """`COUNT BYTES`: so many events of one's own, each of so many bytes."""
    count, size = await _numbers(context)
    yield "so far"
    for _ in range(count):
        yield Custom(name="page", value="v" * size)


@agent(takeover="resume")
async def stepping_much(context: RunContext) -> AsyncIterator[str]:
    """`COUNT BYTES`: so many steps, each with a result of so many bytes."""
    count, size = await _numbers(context)

    async def work() -> str:
        return "s" * size

    yield "so far"
    for number in range(count):
        await context.step(f"step{number}", work, str)


async def escaping_much(context: RunContext) -> AsyncIterator[str]:
    """`COUNT BYTES`: so many pieces of so many characters that JSON writes with six."""
    count, size = await _numbers(context)
    for _ in range(count):
        yield "\x01" * size


NAMES = ("asking_much", "calling_much", "telling_much", "stepping_much", "escaping_much")
SETTING = tuple(f"{name}=tests.promises.runs.overdoing:{name}" for name in NAMES)
