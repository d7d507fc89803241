"""Facts about the agent `openai`, at a real endpoint and at a real client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from gateway.agents import AgentError
from gateway.agents.openai import OpenAIAgent
from gateway.agents.openai.agent import MAX_ROUNDS
from gateway.agents.openai.functions import Function
from tests.promises.runs.person import Person
from tests.support import own_agents
from tests.support.eventually import eventually
from tests.support.model_server import Answer, ModelServer, calls, delta, speech, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler

ROUND = {"reasoningTokens": 2, "cachedInputTokens": 4}
USED = {"model": "m", "inputTokens": 7, "outputTokens": 5, "totalTokens": 12} | ROUND


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    """Yield an endpoint."""
    async with ModelServer() as server:
        yield server
        assert not server.answers, "an answer was not asked for"


@pytest.fixture
def alice(in_process: InProcess, dial: Dialler, model: ModelServer) -> Any:
    """Bring a person to a gateway whose agent asks the endpoint."""

    async def bring(**settings: Any) -> Person:
        given = {"openai_base_url": model.url, "openai_model": "m", "default_agent": "openai"}
        return await Person.at(dial, await in_process(**(given | settings)))

    return bring


@pytest.fixture
def alice_with(
    in_process: InProcess, dial: Dialler, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Bring a person to a gateway whose agent has functions to call."""

    async def bring(*tools: Any, **options: Any) -> Person:
        agent = OpenAIAgent(model="m", base_url=model.url, tools=tools, **options)
        monkeypatch.setattr(own_agents, "agent", agent)
        return await Person.at(dial, await in_process(**own_agents.SETTINGS))

    return bring


def add(first: int, second: int = 1) -> int:
    """Add two numbers."""
    return first + second


async def whoami(context: RunContext) -> dict[str, str]:
    """Tell who asks."""
    return {"subject": context.subject}


def refuse() -> str:
    """Never work."""
    raise AgentError("not today")


async def test_streamed_reply_reaches_client_and_history(alice, model):
    """A streamed answer is the reply, complete, with what it used on the run's end."""
    model.answers = [speech("Hel", "lo ", "there")]
    person = await alice(openai_api_key="sk-mine", openai_instructions="Be kind.")
    run = await person.sees_end(await person.ask("hi"))
    assert (run.outcome, run.text) == ("success", "Hello there")
    assert run.ends[0]["usage"] == [USED | {"provider": "127.0.0.1"}]
    assert [one["content"] for one in await person.history()] == ["hi", "Hello there"]
    assert model.prompt == [("system", "Be kind."), ("user", "hi")]
    assert model.headers[0]["authorization"] == "Bearer sk-mine"
    assert model.requests[0]["stream"] is True


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
async def test_prompt_and_history_have_each_message_once(alice, model, stream):
    """Messages of both sides are in the prompt and in the history once, in order, by role."""
    texts = ["one", "two", "three"]
    model.answers = [speech(text) if stream else whole(content=text) for text in texts]
    person = await alice(openai_stream=stream)
    for content in ["first", [{"type": "text", "text": "second"}], "third"]:
        await person.sees_end(await person.ask(content))
    before = [("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two")]
    assert model.prompt == [*before, ("user", "third")]
    assert model.requests[-1].get("stream", False) is stream
    roles = [message["role"] for message in await person.history()]
    assert roles == ["user", "assistant"] * 3
    assert [one["content"] for one in await person.history()][1::2] == texts


async def test_model_sees_newest_messages_only(alice, model):
    """GATEWAY_OPENAI_CONTEXT_MESSAGES limits the prompt; the message asked stays."""
    model.answers = [speech("one"), speech("two")]
    person = await alice(openai_context_messages=2)
    await person.sees_end(await person.ask("first"))
    await person.sees_end(await person.ask("second"))
    assert model.prompt == [("assistant", "one"), ("user", "second")]


async def test_thoughts_are_reasoning_events_and_not_the_reply(alice, model):
    """Reasoning deltas, under either of their names, are told as AG-UI's reasoning."""
    pieces = [delta(reasoning_content="hm "), delta(reasoning="well"), delta(content="42")]
    model.answers = [Answer([*pieces, delta("stop")])]
    person = await alice()
    run = await person.sees_end(await person.ask("?"))
    assert run.text == "42"
    kinds = [event["event"]["type"] for event in person.log.events]
    thoughts = [kind for kind in kinds if kind.startswith("REASONING")]
    assert thoughts == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
    ]
    assert kinds.index("REASONING_END") < kinds.index("TEXT_MESSAGE_START")


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "whole"])
async def test_tools_are_called_and_their_results_fed_back(alice_with, model, stream):
    """The model's calls are made, told, kept, and answered in the next request of the same run."""
    wanted = [("c1", "add", '{"first": 2, "second": 3}'), ("c2", "whoami", "{}")]
    plain = [
        {"id": one, "type": "function", "function": {"name": name, "arguments": given}}
        for one, name, given in wanted
    ]
    first = calls(*wanted, said="Wait.") if stream else whole(content="Wait.", tool_calls=plain)
    model.answers = [first, speech("5, alice") if stream else whole(content="5, alice")]
    person = await alice_with(add, whoami, stream=stream)
    run = await person.sees_end(await person.ask("2+3?"))
    assert run.text == "Wait.\n\n5, alice"
    assert run.results == {"c1": ["5"], "c2": ['{"subject":"alice"}']}
    asked = model.requests[1]["messages"]
    assert asked[1] == {"role": "assistant", "content": "Wait.", "tool_calls": plain}
    assert asked[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "5"},
        {"role": "tool", "tool_call_id": "c2", "content": '{"subject":"alice"}'},
    ]
    kept = (await person.context())["tool_calls"]
    assert [(one["name"], one["arguments"], one["result"]) for one in kept] == [
        ("add", wanted[0][2], "5"),
        ("whoami", "{}", '{"subject":"alice"}'),
    ]
    assert len(run.ends[0]["usage"]) == 2


async def test_what_is_wrong_with_a_call_is_told_to_the_model(alice_with, model):
    """Bad arguments, an unknown tool and a tool that refuses are results, not the run's end."""
    model.answers = [
        calls(("c1", "add", '{"first": "x"}'), ("c2", "nothing", "{}"), ("c3", "refuse", "{}")),
        speech("I see"),
    ]
    person = await alice_with(add, refuse)
    run = await person.sees_end(await person.ask("go"))
    assert run.outcome == "success"
    assert run.results["c1"][0].startswith("error: the arguments do not fit")
    assert run.results["c2"] == ["error: there is no tool nothing"]
    assert run.results["c3"] == ["error: not today"]


async def test_model_that_only_calls_tools_is_stopped(alice_with, model):
    """After so many rounds without an answer the run fails."""
    model.answers = [calls((f"c{n}", "add", '{"first": 1}')) for n in range(MAX_ROUNDS)]
    person = await alice_with(add)
    run = await person.sees_end(await person.ask("go"))
    assert run.ends[0]["code"] == "too_many_tool_calls"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "model_rejected"),
        (401, "model_unauthorized"),
        (404, "model_not_found"),
        (429, "model_rate_limited"),
        (500, "model_unavailable"),
    ],
    ids=str,
)
async def test_refusal_of_the_endpoint_ends_the_run(alice, model, status, code):
    """An HTTP error is a RUN_ERROR with a code, asked once, and tells nothing of the endpoint."""
    model.answers = [Answer(status=status)]
    person = await alice()
    run = await person.sees_end(await person.ask("hi"))
    assert run.ends[0]["code"] == code
    assert "sk-secret" not in str(person.log.events)
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("ends", "code"), [("cut", "model_interrupted"), ("silent", "model_timeout")], ids=str
)
async def test_partial_text_of_a_broken_answer_is_kept(alice, model, ends, code):
    """A stream that is cut, or falls silent, fails the run; what was said stays, marked."""
    model.answers = [Answer([delta(content="Half "), delta(content="of")], ends=ends)]
    person = await alice(openai_read_timeout_s=0.3)
    run = await person.sees_end(await person.ask("hi"))
    assert run.ends[0]["code"] == code
    reply = (await person.history())[-1]
    assert (reply["content"], reply["status"]) == ("Half of", "failed")


async def test_answer_without_a_reason_to_stop_was_cut(alice, model):
    """A stream that ends in good order but never says why is not taken for whole."""
    model.answers = [Answer([delta(content="Half")])]
    person = await alice()
    run = await person.sees_end(await person.ask("hi"))
    assert run.ends[0]["code"] == "model_interrupted"


async def test_endpoint_that_is_not_there(alice):
    """No connection is a failure of its own."""
    person = await alice(openai_base_url="http://127.0.0.1:9/v1")
    run = await person.sees_end(await person.ask("hi"))
    assert run.ends[0]["code"] == "model_unreachable"


async def test_cancel_hangs_up_on_the_endpoint(alice, model):
    """A cancelled run keeps what was said, and the request is not left running."""
    model.answers = [Answer([delta(content="Half")], ends="silent")]
    person = await alice()
    run_id = await person.ask("hi")
    await person.reads(run_id, "Half")
    assert await person.cancel(run_id) == "cancelled"
    await eventually(lambda: model.hang_ups == 1, what="the endpoint is left")
    assert (await person.history())[-1]["status"] == "cancelled"


def test_function_is_described_by_its_signature():
    """Types, defaults and constraints are the tool's JSON Schema; `context` is not the model's."""

    def find(
        context: RunContext, word: Annotated[str, msgspec.Meta(min_length=2)], limit: int = 5
    ) -> list[str]:
        """Find a word."""
        raise NotImplementedError

    described = Function(find)
    assert (described.name, described.description) == ("find", "Find a word.")
    assert described.parameters["properties"] == {
        "word": {"type": "string", "minLength": 2},
        "limit": {"type": "integer", "default": 5},
    }
    assert described.parameters["required"] == ["word"]
    assert described.parameters["type"] == "object"


def test_function_without_types_is_no_tool():
    """A parameter that cannot be described is refused when the agent is made."""
    with pytest.raises(TypeError, match="anything"):
        Function(lambda anything: anything)


async def test_message_deleted_before_its_turn_is_not_answered(alice, model):
    """A message that waited for its run and was deleted meanwhile asks nothing of the model."""
    model.answers = [Answer([delta(content="Half")], ends="silent")]
    person = await alice()
    first = await person.ask("one")
    await person.reads(first, "Half")
    waiting = await person.send("two")
    await person.client.request(
        "delete_message",
        conversation_id=person.conversation,
        message_id=waiting["message_id"],
    )
    await person.cancel(first)
    run = await person.sees_end(waiting["run_id"])
    assert run.ends[0]["code"] == "message_deleted"
    assert len(model.requests) == 1
