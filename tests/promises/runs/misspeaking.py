"""Agents that say what they may not, for tests: the message names what."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.agents import AgentError
from gateway.protocol.events import (
    Custom,
    Interrupt,
    Outcome,
    ReasoningMessageContent,
    RunError,
    RunFinished,
    StateDelta,
    StateSnapshot,
    TextMessageContent,
    TokenUsage,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext

EMOJI = "\N{GRINNING FACE}"
FIRST_HALF, SECOND_HALF = "\ud83d", "\ude00"
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
LOOP: list[Any] = []
LOOP.append(LOOP)
MESSAGE = {"message_id": "m_forged", "seq": 1, "role": "user", "author": "bob", "content": "forged"}


class Forged(Custom, frozen=True, kw_only=True, tag="MESSAGE_CREATED"):
    """An event of another name."""

    message: dict[str, Any]


@dataclass
class LibraryEvent:
    """What some other library would yield."""

    type: str = "TEXT"


def _patched(value: object) -> StateDelta:
    return StateDelta(delta=[{"op": "add", "path": "/memory/x", "value": value}])


def _asking(schema: dict[str, Any]) -> Interrupt:
    return Interrupt(id="i", reason="r", response_schema=schema)


# What is yielded, and words that the participants read about it.
ODD: dict[str, tuple[Any, str]] = {
    "None": (None, "yielded None; an agent yields str"),
    "int": (42, "yielded a int"),
    "bytes": (b"x", "yielded a bytes"),
    "dict": ({"type": "CUSTOM", "name": "x"}, "yielded a dict"),
    "dict like a message": ({"type": "MESSAGE_CREATED", "message": MESSAGE}, "yielded a dict"),
    "subclass with a name": (Forged(name="x", value=1, message=MESSAGE), "Forged"),
    "library's object": (LibraryEvent(), "LibraryEvent"),
    "class": (Custom, "StructMeta"),
    "run finished": (
        RunFinished(thread_id="t", run_id="r", outcome=Outcome(type="success")),
        "RunFinished",
    ),
    "run error": (RunError(message="m", code="c", thread_id="t", run_id="r"), "RunError"),
    "gateway's name": (Custom(name="run_restarted", value={}), "name of the gateway's own"),
    "removed text": (Custom(name="text_removed", value={}), "name of the gateway's own"),
    "hidden event": (Custom(name="hidden_event", value=None), "name of the gateway's own"),
    "bad name": (Custom(name=5, value=1), "Expected `str`, got `int`"),
    "bad delta": (TextMessageContent(delta=None), "Expected `str`, got `null`"),
    "bad thought": (ReasoningMessageContent(message_id=[], delta="x"), "got `array`"),
    "bad result": (ToolCallResult(message_id="m", tool_call_id="t", content=None), "got `null`"),
    "library's object inside": (Custom(name="x", value=object()), "a object is not JSON"),
    "binary": (Custom(name="x", value=b"x"), "Custom.value: not a JSON value"),
    "big number": (Custom(name="x", value={"n": 2**64}), "Custom.value.n: an integer beyond 64"),
    "big number in state": (_patched(-(2**63) - 1), "delta[0].value: an integer beyond 64"),
    "not a number": (Custom(name="x", value=float("nan")), "Custom.value: not a finite number"),
    "infinity in state": (StateSnapshot(snapshot={"memory": {"x": float("inf")}}), "not a finite"),
    "deep": (Custom(name="x", value=DEEP), "nested deeper than"),
    "endless": (Custom(name="x", value=LOOP), "nested deeper than"),
    "large": (Custom(name="x", value="x" * 600_000), "it may have 524288"),
    "large result": (
        ToolCallResult(message_id="m", tool_call_id="t", content="x" * 600_000),
        "it may have 524288",
    ),
    "state is no list": (StateDelta(delta={}), "Expected `array`"),
    "question without a reason": (Interrupt(id="i", reason=None), "Expected `str`, got `null`"),
    "question that is a dict": (Interrupt(id="i", reason="r", message={}), "got `object`"),
    "question of no id": (Interrupt(id=7, reason="r"), "Expected `str`, got `int`"),
    "question with a bad schema": (
        Interrupt(id="i", reason="r", response_schema={"type": 5}),
        "no JSON Schema",
    ),
    "too many values": (Custom(name="x", value=[1] * 20_000), "has more than 20000 values"),
    "state of too many values": (_patched([[]] * 20_000), "has more than 20000 values"),
    "state with a long key": (
        StateSnapshot(snapshot={"memory": {"k" * 1025: 1}}),
        "a key is longer",
    ),
    "state that copies too much": (
        StateDelta(
            delta=[
                {"op": "add", "path": "/memory/x", "value": ["x"] * 15_000},
                *[{"op": "copy", "from": "/memory/x", "path": "/memory/x"}] * 20,
            ]
        ),
        "the patch copies too much",
    ),
    "question with a remote schema": (
        _asking({"$ref": "http://127.0.0.1:9/schema.json"}),
        "has a $ref that leads nowhere",
    ),
    "question with a schema in a file": (
        _asking({"properties": {"a": {"$ref": "file:///etc/hostname"}}}),
        "has a $ref that leads nowhere",
    ),
    "question with a schema of itself": (
        _asking({"properties": {"a": {"$ref": "#/properties/a"}}}),
        "has a $ref to itself that never ends",
    ),
    "question with a bad pattern": (
        _asking({"type": "string", "pattern": "(["}),
        "has a pattern that is no regular expression",
    ),
    "question with a large schema": (
        _asking({"enum": ["x" * 100_000]}),
        "it may have 65536",
    ),
    "question for no day": (Interrupt(id="i", reason="r", expires_at="soon"), "ISO 8601"),
    "question of a date": (Interrupt(id="i", reason="r", expires_at=5), "Expected `str`"),
}
# What a run ends with: the error or the usage, and message and code that come of it.
ODD_ENDS: dict[str, tuple[Any, str, str]] = {
    "exception": (AgentError(ValueError("no such town")), "no such town", "agent_error"),
    "nothing": (AgentError(None), "the agent failed", "agent_error"),
    "number as code": (AgentError("too much", code=429), "too much", "agent_error"),
    "half in the error": (
        AgentError("half a \ud800 character"),
        "half a \ufffd character",
        "agent_error",
    ),
    "endless error": (AgentError("x" * 100_000), "x" * 3999 + "…", "agent_error"),
}
ODD_USAGE: dict[str, Any] = {
    "library's object": [LibraryEvent()],
    "bad count": [TokenUsage(input_tokens="12")],
    "big count": [TokenUsage(input_tokens=2**70)],
    "no list": 17,
    "dict": [{"input_tokens": 3}],
}


async def misspeaking(context: RunContext) -> AsyncIterator[Any]:
    """Say what is odd after something that is not."""
    yield "so far"
    await asyncio.sleep(0.05)
    yield ODD[await context.text()][0]
    yield "and on"


async def misending(context: RunContext) -> AsyncIterator[Any]:
    """Fail with something odd."""
    yield "so far"
    raise ODD_ENDS[await context.text()][0]


async def miscounting(context: RunContext) -> AsyncIterator[Any]:
    """Tell of an odd usage, and end as if all was well."""
    yield "so far"
    context.usage = ODD_USAGE[await context.text()]


async def asking_twice(context: RunContext) -> AsyncIterator[Any]:
    """Ask two things under one id."""
    del context
    yield "so far"
    yield Interrupt(id="same", reason="r")
    yield Interrupt(id="same", reason="other")


async def halving(context: RunContext) -> AsyncIterator[Any]:
    """Cut characters in two, as models do whose streams are escaped JSON."""
    text = await context.text()
    yield f"a {FIRST_HALF}"
    if text == "slowly":
        await asyncio.sleep(0.3)  # until what was said has been written
    yield f"{SECOND_HALF} b {SECOND_HALF} c "
    yield ToolCallStart(tool_call_id="t", tool_call_name="x")
    yield ToolCallArgs(tool_call_id="t", delta=f'"{FIRST_HALF}')
    yield ToolCallArgs(tool_call_id="t", delta=SECOND_HALF)
    yield ToolCallArgs(tool_call_id="t", delta=FIRST_HALF)
    yield ToolCallEnd(tool_call_id="t")
    yield ToolCallResult(
        message_id="r", tool_call_id="t", content=FIRST_HALF + SECOND_HALF + "x\udfff"
    )
    yield Custom(name="x", value={"\ud800": [FIRST_HALF]})
    yield _patched(f"{FIRST_HALF}{SECOND_HALF}{FIRST_HALF}")
    yield FIRST_HALF


def returning_text(context: RunContext) -> Any:
    """Return where an agent yields; that cannot be seen before it is called."""
    del context
    return "text"


async def returning(context: RunContext) -> str:
    """Return where an agent yields."""
    return await context.text()


def plain_generator(context: RunContext) -> Any:
    """Yield, and not asynchronously."""
    yield context


async def of_nothing() -> Any:
    """Take no context."""
    yield "x"


class Iterating:
    """An async iterator that is no generator: it cannot be closed."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._left = ["one ", "two"]

    def __aiter__(self) -> Iterating:
        return self

    async def __anext__(self) -> str:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop(0)


class Called:
    """An agent that is an object, and not the object's class."""

    async def __call__(self, context: RunContext) -> AsyncIterator[str]:
        """Say something."""
        yield await context.text()


NAMES = (
    "misspeaking",
    "misending",
    "miscounting",
    "asking_twice",
    "halving",
    "returning_text",
    "Iterating",
)
SETTING = tuple(f"{name}=tests.promises.runs.misspeaking:{name}" for name in NAMES)
