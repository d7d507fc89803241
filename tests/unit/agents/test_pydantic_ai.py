"""Facts about pydantic-ai agents behind the gateway, told by a real client, on its own models."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, DeferredToolRequests, FunctionToolset
from pydantic_ai import RunContext as ModelRunContext
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset

from gateway.agents import AgentError
from gateway.agents.pydantic_ai import PydanticAgent
from tests.promises.runs.person import Person
from tests.support import own_agents
from tests.support.gateways import InProcessGateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models.function import AgentInfo

    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode

Script = Any  # what a model says: texts, calls, thoughts, exceptions, and coroutine functions


class Model:
    """A model that says what it is told to, one script a request.

    Attributes:
        asked: what it was sent, as (kind of part, content) pairs, one list a request.
    """

    def __init__(self, *scripts: list[Script]) -> None:
        self.asked: list[list[tuple[str, Any]]] = []
        self._scripts = list(scripts)

    def agent(self, **options: Any) -> Agent[Any, Any]:
        """Return an agent of this model."""
        return Agent(FunctionModel(stream_function=self._speak), name="tested", **options)

    async def _speak(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        self.asked.append([_brief(part) for message in messages for part in message.parts])
        if info.instructions:
            self.asked[-1].insert(0, ("instructions", info.instructions))
        for item in self._scripts.pop(0):
            if isinstance(item, Exception):
                raise item
            if callable(item):
                await item()
            else:
                yield item


def _brief(part: Any) -> tuple[str, Any]:
    match part:
        case UserPromptPart() | SystemPromptPart() | TextPart():
            return part.part_kind, part.content
        case ToolCallPart():
            return part.part_kind, (part.tool_name, part.args_as_json_str())
        case ToolReturnPart():
            return part.part_kind, part.model_response_str()
        case _:
            return part.part_kind, None


def call(name: str, arguments: str, call_id: str = "c1", index: int = 0) -> Any:
    """Return a piece of a model's answer that calls a tool."""
    return {index: DeltaToolCall(name=name, json_args=arguments, tool_call_id=call_id)}


@pytest.fixture
def meet(in_process: InProcess, dial: Dialler, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Bring a person to a gateway with this agent."""

    async def bring(agent: Agent[Any, Any], **options: Any) -> Person:
        monkeypatch.setattr(own_agents, "agent", PydanticAgent(agent, **options))
        return await Person.at(dial, await in_process(**own_agents.SETTINGS))

    return bring


async def test_streamed_reply_and_its_usage_are_told(meet):
    """Text comes as the model makes it; what it used is on the run's end."""
    person = await meet(Model(["Hel", "lo"]).agent())
    run = await person.sees_end(await person.ask("hi"))
    assert (run.outcome, run.text) == ("success", "Hello")
    (usage,) = run.ends[0]["usage"]
    assert usage["outputTokens"] > 0
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert [one["content"] for one in await person.history()] == ["hi", "Hello"]


async def test_second_message_goes_on_from_the_first(meet):
    """The model sees each message once, the calls that led to them, and its system prompt."""
    model = Model([call("double", '{"number":4}')], ["It is 8"], ["Sure"])
    agent = model.agent(system_prompt="Be brief.", instructions="Count.")

    @agent.tool_plain
    def double(number: int) -> int:
        """Double it."""
        return number * 2

    person = await meet(agent)
    await person.sees_end(await person.ask("twice 4?"))
    await person.sees_end(await person.ask("sure?"))
    assert model.asked[-1] == [
        ("instructions", "Count."),
        ("system-prompt", "Be brief."),
        ("user-prompt", "twice 4?"),
        ("tool-call", ("double", '{"number":4}')),
        ("tool-return", "8"),
        ("text", "It is 8"),
        ("user-prompt", "sure?"),
    ]


@pytest.mark.parametrize("way", ["exit", "exit_in_thread", "keyboard_interrupt", "subtask"])
async def test_whatever_leaves_a_tool_is_a_failure_of_the_run(meet, way):
    """`agent_error`, not a gateway that ends, nor a success; the next message is answered."""
    agent = Model([call(way, "{}")], ["Here I am"]).agent()

    @agent.tool_plain
    async def exit() -> str:  # noqa: A001
        """Exit."""
        sys.exit(3)

    @agent.tool_plain
    def exit_in_thread() -> str:
        """Exit."""
        sys.exit(3)

    @agent.tool_plain
    async def keyboard_interrupt() -> str:
        """Interrupt."""
        raise KeyboardInterrupt

    @agent.tool_plain
    async def subtask() -> str:
        """Await what was cancelled."""
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task
        return "never"

    person = await meet(agent)
    run = await person.sees_end(await person.ask("go"))
    assert (run.ends[0]["type"], run.ends[0]["code"]) == ("RUN_ERROR", "agent_error")
    assert (await person.sees_end(await person.ask("and now"))).text == "Here I am"


async def test_model_does_not_see_what_was_deleted(meet):
    """History is the conversation's: a message deleted in it is gone for the model too."""
    model = Model(["one"], ["two"])
    person = await meet(model.agent())
    sent = await person.send("a secret")
    await person.sees_end(sent["run_id"])
    await person.client.request(
        "delete_message", conversation_id=person.conversation, message_id=sent["message_id"]
    )
    await person.sees_end(await person.ask("again"))
    assert model.asked[-1] == [("text", "one"), ("user-prompt", "again")]


async def test_test_model_calls_every_tool(meet):
    """pydantic-ai's TestModel runs through: each call is told, with arguments and result, kept."""
    agent = Agent(TestModel(custom_output_text="done"), name="tested")

    @agent.tool_plain
    def first(word: str) -> str:
        """Return the word."""
        return word

    @agent.tool_plain
    async def second(number: int) -> dict[str, int]:
        """Return the number."""
        return {"number": number}

    person = await meet(agent)
    run = await person.sees_end(await person.ask("go"))
    assert (run.outcome, run.text) == ("success", "done")
    assert sorted(result for (result,) in run.results.values()) == ["a", '{"number":0}']
    kept = (await person.context())["tool_calls"]
    assert {(one["name"], one["arguments"], one["status"]) for one in kept} == {
        ("first", '{"word":"a"}', "complete"),
        ("second", '{"number":0}', "complete"),
    }


async def test_texts_around_a_call_are_paragraphs_of_one_reply(meet):
    """What is said before a tool call and after it does not run together."""
    model = Model(["Let me see.", call("look", "{}")], ["It ", "is fine."])
    person = await meet(model.agent(tools=[_look]))
    run = await person.sees_end(await person.ask("?"))
    assert run.text == "Let me see.\n\nIt is fine."


def _look() -> str:
    return "fine"


_look.__name__ = "look"


async def test_thoughts_are_reasoning_events(meet):
    """Thinking parts are told as AG-UI's reasoning, before the text."""
    model = Model([{0: DeltaThinkingPart(content="hm")}, "42"])
    person = await meet(model.agent())
    run = await person.sees_end(await person.ask("?"))
    assert run.text == "42"
    kinds = [event["event"]["type"] for event in person.log.events]
    first = kinds.index("REASONING_START")
    assert kinds[first : first + 5] == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
    ]


async def test_structured_output_is_said_as_json(meet):
    """An output that is no text is the reply, as JSON."""

    class Place(BaseModel):
        name: str

    agent = Agent(TestModel(custom_output_args={"name": "Rome"}), output_type=Place, name="tested")
    person = await meet(agent)
    run = await person.sees_end(await person.ask("where?"))
    assert run.text == '{"name":"Rome"}'
    assert all(len(results) == 1 for results in run.results.values())


async def test_dependencies_are_made_for_the_run(meet):
    """`deps` is given the run's context; tools reach it."""
    model = Model([call("whoami", "{}")], ["ok"])
    agent = model.agent(deps_type=str)

    @agent.tool
    def whoami(context: ModelRunContext[str]) -> str:
        """Tell who asks."""
        return context.deps

    person = await meet(agent, deps=lambda context: context.subject)
    run = await person.sees_end(await person.ask("?"))
    assert run.results == {"c1": ["alice"]}


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ModelHTTPError(429, "m", body={"key": "sk-secret"}), "model_rate_limited"),
        (ModelHTTPError(401, "m", body={"key": "sk-secret"}), "model_unauthorized"),
        (AgentError("no more today", code="closed"), "closed"),
        (RuntimeError("sk-secret"), "agent_error"),
    ],
    ids=["429", "401", "own", "bug"],
)
async def test_failure_keeps_the_partial_text(meet, failure, code):
    """A failing model ends the run with a code; what was said stays; nothing inside is told."""
    person = await meet(Model(["Half", failure]).agent())
    run = await person.sees_end(await person.ask("?"))
    assert run.ends[0]["code"] == code
    reply = (await person.history())[-1]
    assert (reply["content"], reply["status"]) == ("Half", "failed")
    assert "sk-secret" not in str(person.log.events)


async def test_cancel_stops_the_agent(meet):
    """A cancelled run stops the model's stream; the text so far is kept."""
    stopped = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    person = await meet(Model(["Half", wait]).agent())
    run_id = await person.ask("?")
    await person.reads(run_id, "Half")
    assert await person.cancel(run_id) == "cancelled"
    async with asyncio.timeout(5):
        await stopped.wait()


# Tools that wait for somebody


async def answer(person: Person, run: Any, payload: object, *, status: str = "resolved") -> Any:
    """Answer what a run asked; return the run that goes on, at its end."""
    (asked,) = run.ends[0]["outcome"]["interrupts"]
    before = set(_runs(person))
    reply = await person.client.request(
        "respond_to_interrupt",
        conversation_id=person.conversation,
        run_id=run.run_id,
        interrupt_id=asked["id"],
        status=status,
        payload=payload,
    )
    assert reply["winner"]
    await person.sees(lambda: len(_runs(person)) > len(before), what="another run")
    (next_id,) = set(_runs(person)) - before
    return await person.sees_end(next_id)


def _runs(person: Person) -> list[str]:
    return [event["event"]["runId"] for event in person.log.of_type("RUN_STARTED")]


def careful(model: Model) -> tuple[Agent[Any, Any], list[str]]:
    """Return an agent whose tool wants approval, and what the tool has done."""
    agent, done = model.agent(output_type=[str, DeferredToolRequests]), list[str]()

    @agent.tool_plain(requires_approval=True)
    def erase(name: str) -> str:
        """Erase a file."""
        done.append(name)
        return f"{name} erased"

    return agent, done


async def test_tool_that_wants_approval_asks_and_runs_once_approved(meet):
    """The run asks with the call's id and a schema; after the answer the call is made, once."""
    model = Model(["Well.", call("erase", '{"name":"a"}')], ["Gone"], ["Yes"])
    agent, done = careful(model)
    person = await meet(agent)
    run = await person.sees_end(await person.ask("erase a"))
    (asked,) = run.ends[0]["outcome"]["interrupts"]
    assert (asked["toolCallId"], asked["reason"]) == ("c1", "tool_call")
    assert asked["message"] == 'erase({"name":"a"})'
    assert not done
    after = await answer(person, run, {"approved": True})
    assert (after.outcome, after.text, done) == ("success", "Gone", ["a"])
    assert after.results == {"c1": ["a erased"]}
    await person.sees_end(await person.ask("sure?"))
    assert model.asked[-1][1:4] == [
        ("text", "Well."),
        ("tool-call", ("erase", '{"name":"a"}')),
        ("tool-return", "a erased"),
    ]


@pytest.mark.parametrize(
    ("payload", "status", "told"),
    [
        ({"approved": False, "reason": "never"}, "resolved", "never"),
        (None, "cancelled", "Nobody answered."),
    ],
    ids=["denied", "cancelled"],
)
async def test_tool_that_is_not_approved_is_not_run(meet, payload, status, told):
    """A denial and an answer that is none are told to the model."""
    model = Model([call("erase", '{"name":"a"}')], ["Then not"])
    agent, done = careful(model)
    person = await meet(agent)
    run = await person.sees_end(await person.ask("erase a"))
    after = await answer(person, run, payload, status=status)
    assert (after.text, done) == ("Then not", [])
    assert told in after.results["c1"][0]


async def test_several_calls_are_asked_about_at_once(meet):
    """One interrupt has all that waits, approvals and results of others, by call id."""
    weather = ToolDefinition(name="weather", parameters_json_schema={"type": "object"})
    script = [call("erase", '{"name":"a"}', "c1", 0), call("weather", "{}", "c2", 1)]
    model = Model(script, ["Done"])
    agent, done = careful(model)
    outside = ExternalToolset([weather], id="outside")
    agent = model.agent(
        output_type=[str, DeferredToolRequests], toolsets=[*agent.toolsets[:1], outside]
    )
    person = await meet(agent)
    run = await person.sees_end(await person.ask("go"))
    (asked,) = run.ends[0]["outcome"]["interrupts"]
    assert set(asked["responseSchema"]["required"]) == {"c1", "c2"}
    given = {"c1": {"approved": True, "editedArgs": {"name": "b"}}, "c2": {"result": "rain"}}
    after = await answer(person, run, given)
    assert (after.text, done) == ("Done", ["b"])
    assert after.results == {"c1": ["b erased"], "c2": ["rain"]}


# Another worker goes on


@pytest.fixture
async def lose_worker(
    redis_server: RedisNode, dial: Dialler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Ask an agent, stop the gateway at a moment, and see the end at another gateway."""
    options = own_agents.SETTINGS | {"redis_url": redis_server.url, "data_dir": str(tmp_path)}

    async with AsyncExitStack() as stack:

        async def ask(agent: Any, content: str, moment: asyncio.Event) -> tuple[Person, Any]:
            monkeypatch.setattr(own_agents, "agent", agent)
            async with InProcessGateway(**options) as first:
                person = await Person.at(dial, first)
                run_id = await person.ask(content)
                await moment.wait()
                second = await stack.enter_async_context(InProcessGateway(**options))
            await person.client.closed()
            await person.resumes(second)
            return person, await person.sees_end(run_id)

        yield ask


def once(moment: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """Return what reaches the moment and waits there the first time, and passes after it."""

    async def reach() -> None:
        if not moment.is_set():
            moment.set()
            await asyncio.Event().wait()

    return reach


async def test_cut_answer_is_asked_for_again_and_nothing_else(lose_worker):
    """What was whole is neither asked for nor done again; the reply begins anew with it."""
    moment, done = asyncio.Event(), list[int]()
    model = Model(
        ["One.", call("count", "{}")],
        ["Tw", once(moment)],  # cut here
        ["Two."],
    )
    agent = model.agent()

    @agent.tool_plain
    def count() -> int:
        """Count."""
        done.append(1)
        return len(done)

    wrapped = PydanticAgent(agent)
    assert wrapped.takeover == "resume"
    person, run = await lose_worker(wrapped, "go", moment)
    assert (run.outcome, run.text) == ("success", "One.\n\nTwo.")
    assert (len(done), run.results) == (1, {"c1": ["1"]})
    assert [len(asked) for asked in model.asked] == [1, 4, 4]
    assert (await person.history())[-1]["content"] == "One.\n\nTwo."
    assert len(run.ends[0]["usage"]) == 1


async def test_cut_tool_is_done_again_without_a_word_lost(lose_worker):
    """A run cut within a tool goes on from its text; the calls that were done stay done."""
    moment, done = asyncio.Event(), list[str]()
    model = Model(["Wait.", call("quick", "{}", "c1", 1), call("slow", "{}", "c2", 2)], ["Done."])
    agent = model.agent()
    wait = once(moment)

    @agent.tool_plain
    def quick() -> str:
        """Be quick."""
        done.append("quick")
        return "quick"

    @agent.tool_plain
    async def slow() -> str:
        """Take long."""
        done.append("slow")
        await wait()
        return "slow"

    person, run = await lose_worker(PydanticAgent(agent), "go", moment)
    assert run.text == "Wait.\n\nDone."
    assert list(run.texts.values()) == [run.text]
    assert not person.log.of_type("CUSTOM")
    assert run.results == {"c1": ["quick"], "c2": ["slow"]}
    assert sorted(done) == ["quick", "slow", "slow"]
    kept = (await person.context())["tool_calls"]
    assert {one["arguments"] for one in kept} == {"{}"}


async def test_agent_that_cannot_be_journaled_begins_anew(lose_worker):
    """A toolset without an id costs the journal: the reply begins anew from nothing."""
    moment = asyncio.Event()
    model = Model(["Half", once(moment)], ["Whole"])
    agent = PydanticAgent(model.agent(toolsets=[FunctionToolset()]))
    assert agent.takeover == "restart"
    _, run = await lose_worker(agent, "go", moment)
    assert (run.outcome, run.text) == ("success", "Whole")
