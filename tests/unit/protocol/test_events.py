"""Every event of a run is AG-UI 1.0's, held against the `ag-ui-protocol` package."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from ag_ui.core import Event, EventType, ResumeEntry
from ag_ui.core import Interrupt as Asked
from pydantic import TypeAdapter

from gateway.agents import AgentError
from gateway.agents.agent import agent as an_agent
from gateway.protocol import events
from tests.promises.runs.person import Person
from tests.support import own_agents
from tests.support.gateways import InProcessGateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.agents import RunContext
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode

AG_UI = TypeAdapter(Event)
ODD = 'a "quoted" \\ text\nwith ünïcode \u2028 and \x07'
SCHEMA = {"type": "object", "properties": {"yes": {"type": "boolean"}}}
USAGE = events.TokenUsage(
    provider="p",
    model="m",
    input_tokens=3,
    output_tokens=2,
    total_tokens=5,
    reasoning_tokens=1,
    cached_input_tokens=1,
    cache_write_input_tokens=1,
)
ASKED = events.Interrupt(
    id="i1",
    reason="approval",
    message=ODD,
    tool_call_id="c1",
    response_schema=SCHEMA,
    expires_at="2030-01-01T00:00:00+00:00",
)
IDS = {"thread_id": "c_1", "run_id": "r_1"}
SAMPLES: list[events.RunEvent] = [
    events.TextMessageContent(message_id="m1", delta=ODD),
    events.ToolCallStart(tool_call_id="c1", tool_call_name="find"),
    events.ToolCallStart(tool_call_id="c1", tool_call_name="find", parent_message_id="m1"),
    events.ToolCallArgs(tool_call_id="c1", delta='{"a":'),
    events.ToolCallEnd(tool_call_id="c1"),
    events.ToolCallResult(message_id="m2", tool_call_id="c1", content=ODD),
    events.StateSnapshot(snapshot={"memory": {"a": 1}, "workflow": {}}),
    events.StateDelta(delta=[{"op": "add", "path": "/memory/a", "value": None}]),
    events.StepStarted(step_name="one"),
    events.StepFinished(step_name="one"),
    events.ReasoningStart(message_id="m3"),
    events.ReasoningMessageStart(message_id="m3"),
    events.ReasoningMessageContent(message_id="m3", delta=ODD),
    events.ReasoningMessageEnd(message_id="m3"),
    events.ReasoningEnd(message_id="m3"),
    events.Custom(name="own", value={"any": [1, None]}),
    events.RunFinished(**IDS, outcome=events.Outcome(type="success")),
    events.RunFinished(**IDS, outcome=events.Outcome(type="success"), usage=[USAGE]),
    events.RunFinished(**IDS, outcome=events.Outcome(type="interrupt", interrupts=[ASKED])),
    events.RunFinished(**IDS, outcome=events.Outcome(type="cancelled")),
    events.RunError(**IDS, message=ODD, code="agent_error", usage=[USAGE]),
]
RUN_EVENTS = {kind.value for kind in EventType}


def assert_ag_ui(event: dict[str, Any]) -> Any:
    """Hold one event against AG-UI: nothing is wrong, and no name is unknown to it."""
    known = AG_UI.validate_python(event)
    extra = _unknown(known)
    if event["type"] == "RUN_ERROR":
        extra -= {"threadId", "runId"}  # ours besides: which run it is that failed
    assert not extra, f"{event['type']} has {extra}"
    return known


def _unknown(model: Any) -> set[str]:
    """Names that AG-UI does not have, at any depth; its models keep them."""
    found = set(model.model_extra or ())
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, list) else [value]:
            if hasattr(item, "model_extra"):
                found |= _unknown(item)
    return found


@pytest.mark.parametrize(
    "event", SAMPLES, ids=[f"{type(one).__name__}-{nth}" for nth, one in enumerate(SAMPLES)]
)
def test_event_of_an_agent_is_ag_ui(event):
    """What the gateway encodes is valid, and reads back as the same."""
    encoded = json.loads(msgspec.json.encode(event))
    known = assert_ag_ui(encoded)
    again = known.model_dump(mode="json", by_alias=True)
    assert {name: again[name] for name in encoded if name in again} == {
        name: value for name, value in encoded.items() if name in again
    }


def test_every_event_has_a_sample():
    """An event that is added to gateway/protocol/events.py is added here."""
    kinds = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.RunEvent)
    }
    assert {type(sample) for sample in SAMPLES} == kinds - {events.RunEvent}


def test_usage_and_interrupt_have_only_names_of_ag_ui():
    """Their fields are AG-UI's, all of those that we send."""
    encoded = json.loads(msgspec.json.encode(ASKED))
    assert not Asked.model_validate(encoded).model_extra
    ResumeEntry.model_validate({"interruptId": "i1", "status": "resolved", "payload": {"a": 1}})
    with pytest.raises(ValueError, match="status"):
        ResumeEntry.model_validate({"interruptId": "i1", "status": "other"})


# What the scripts of Redis write


def run_events(person: Person) -> list[dict[str, Any]]:
    """Return all events of runs that a person was told, each held against AG-UI."""
    told = [frame["event"] for frame in person.log.events]
    runs = [event for event in told if event["type"] in RUN_EVENTS]
    for event in runs:
        assert_ag_ui(event)
    return runs


def types(told: list[dict[str, Any]]) -> list[str]:
    """Return the types, repeats of text left out."""
    kinds = [event["type"] for event in told]
    return [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before]


@pytest.fixture
def meet(in_process: InProcess, dial: Dialler, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Bring a person to a gateway with this agent."""

    async def bring(agent: Any) -> Person:
        monkeypatch.setattr(own_agents, "agent", agent)
        return await Person.at(dial, await in_process(**own_agents.SETTINGS))

    return bring


async def open_call(context: RunContext) -> AsyncIterator[str | events.RunEvent]:
    """Say something odd, and leave a call open."""
    yield await context.text()
    yield events.ToolCallStart(tool_call_id=ODD[:20], tool_call_name=ODD)
    yield events.ToolCallArgs(tool_call_id=ODD[:20], delta='{"a": 1}')
    yield events.ToolCallEnd(tool_call_id=ODD[:20])


async def test_successful_run_is_ag_ui(meet):
    """Start, text, a call that is cut by the end, finish: all valid, and in this order."""

    async def agent(context: RunContext) -> AsyncIterator[Any]:
        async for item in open_call(context):
            yield item
        yield events.StateDelta(delta=[{"op": "add", "path": "/memory/a", "value": ODD}])
        context.usage.append(USAGE)

    person = await meet(agent)
    run = await person.sees_end(await person.ask(ODD))
    told = run_events(person)
    assert types(told) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "STATE_DELTA",
        "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    assert (run.text, told[-3]["content"]) == (ODD, "interrupted")
    assert told[-3]["toolCallId"] == ODD[:20]
    (kept,) = (await person.context())["tool_calls"]
    assert (kept["status"], kept["arguments"]) == ("interrupted", '{"a": 1}')


async def test_failed_run_is_ag_ui(meet):
    """RUN_ERROR has AG-UI's message, code and usage; the gateway adds which run it was."""

    async def agent(context: RunContext) -> AsyncIterator[Any]:
        context.usage.append(USAGE)
        yield "half"
        raise AgentError(ODD, code="odd")

    person = await meet(agent)
    run = await person.sees_end(await person.ask("go"))
    told = run_events(person)
    assert types(told)[-2:] == ["TEXT_MESSAGE_END", "RUN_ERROR"]
    assert (told[-1]["message"], told[-1]["code"]) == (ODD, "odd")
    assert (told[-1]["runId"], told[-1]["threadId"]) == (run.run_id, person.conversation)


async def test_cancelled_and_interrupted_runs_are_ag_ui(meet):
    """Both outcomes are AG-UI's, also of a run that never began."""

    async def agent(context: RunContext) -> AsyncIterator[Any]:
        if context.resume:
            assert ResumeEntry.model_validate(context.resume[0]).interrupt_id == "i1"
            yield "thanks"
        else:
            yield events.Interrupt(id="i1", reason="approval", message=ODD, response_schema=SCHEMA)

    person = await meet(agent)
    run = await person.sees_end(await person.ask("go"))
    (asked,) = run.ends[0]["outcome"]["interrupts"]
    Asked.model_validate(asked)
    await person.client.request(
        "respond_to_interrupt",
        conversation_id=person.conversation,
        run_id=run.run_id,
        interrupt_id=asked["id"],
        status="resolved",
        payload={"yes": True},
    )
    await person.sees_type("RUN_FINISHED", count=2)
    assert [end["outcome"]["type"] for end in _ends(person)] == ["interrupt", "success"]


async def test_cancelled_runs_are_ag_ui(meet):
    """A run that was cancelled before it began has its start and its end, both valid."""

    async def agent(context: RunContext) -> AsyncIterator[Any]:
        async for item in open_call(context):
            yield item
        await _for_ever()

    person = await meet(agent)
    first, second = await person.ask("one"), await person.ask("two")
    await person.sees_type("TOOL_CALL_END")
    await person.cancel(second)
    await person.cancel(first)
    await person.sees_type("RUN_FINISHED", count=2)
    assert [end["outcome"]["type"] for end in _ends(person)] == ["cancelled", "cancelled"]
    assert [end["runId"] for end in _ends(person)] == [second, first]


async def _for_ever() -> None:
    await asyncio.Event().wait()


def _ends(person: Person) -> list[dict[str, Any]]:
    return [event for event in run_events(person) if event["type"] == "RUN_FINISHED"]


async def test_run_that_begins_anew_is_ag_ui(
    redis_server: RedisNode, dial: Dialler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another worker's reset closes what was open, tells of it, and starts another message."""

    @an_agent(takeover="restart")
    async def agent(context: RunContext) -> AsyncIterator[Any]:
        async for item in open_call(context):
            yield item
        if context.attempt == 1:
            await _for_ever()

    monkeypatch.setattr(own_agents, "agent", agent)
    given = own_agents.SETTINGS | {"redis_url": redis_server.url, "data_dir": str(tmp_path)}
    async with AsyncExitStack() as stack:
        async with InProcessGateway(**given) as first:
            person = await Person.at(dial, first)
            run_id = await person.ask("one")
            await person.sees_type("TOOL_CALL_END")
            second = await stack.enter_async_context(InProcessGateway(**given))
        await person.client.closed()
        await person.resumes(second)
        run = await person.sees_end(run_id)
        (restarted,) = [event for event in run_events(person) if event["type"] == "CUSTOM"]
    assert restarted["value"] == {"runId": run_id, "discardedMessageId": next(iter(run.texts))}
    assert list(run.texts.values()) == ["one", "one"]
