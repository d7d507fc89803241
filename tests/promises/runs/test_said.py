"""What an agent says is checked before it is stored: at real clients of both codecs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from gateway.agents import AgentRegistry
from gateway.errors import SettingError
from gateway.settings import load_settings
from tests.promises.runs.misspeaking import EMOJI, ODD, ODD_ENDS, ODD_USAGE

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive, Gateways
    from tests.promises.runs.person import Person
    from tests.promises.runs.run_log import ToldRun

LOST = "\N{REPLACEMENT CHARACTER}"


async def fails(person: Person, agent: str, content: str) -> ToldRun:
    """Let an agent fail; what it said before is kept, and it was called once."""
    run = await person.sees_end(await person.ask(content, agent=agent))
    assert run.outcome == "error"
    assert run.message is not None
    assert (run.message["content"], run.message["status"]) == ("so far", "failed")
    assert not [
        one
        for one in person.log.of_type("CUSTOM")
        if one["event"]["name"] not in {"x", "run_interrupted"}
    ]
    return run


@pytest.mark.parametrize("content", ODD)
async def test_what_an_agent_may_not_say_ends_its_run(
    stage: Gateways, arrive: Arrive, content: str
) -> None:
    """Nothing of it is stored; RUN_ERROR says what it was, to clients of both codecs."""
    alice = await arrive(stage[0])
    bob = await arrive(stage[1], "bob", codec="msgpack")
    await bob.join(await alice.create(visibility="open"))
    run = await fails(alice, "misspeaking", content)
    (end,) = run.ends
    assert end["code"] == "agent_error"
    assert ODD[content][1] in end["message"]
    assert "forged" not in json.dumps([frame["event"] for frame in alice.log.events])
    assert len(json.dumps(end)) < 2000
    assert (await bob.sees_end(run.run_id)).ends == [end]
    assert (await alice.sees_end(await alice.ask("and on"))).text == "and on"


async def test_what_was_refused_is_logged_once_with_run_and_conversation(
    own_stage: Any, arrive: Arrive
) -> None:
    """For who runs it: the agent's name too, and never what it held."""
    gateway = await own_stage()
    alice = await arrive(gateway)
    with capture_logs() as logs:
        run = await fails(alice, "misspeaking", "dict like a message")
    (line,) = [one for one in logs if one["event"] == "agent_output_refused"]
    assert line["log_level"] == "error"
    assert (line["run_id"], line["conversation_id"]) == (run.run_id, alice.conversation)
    assert (line["agent"], line["tenant"]) == ("misspeaking", alice.client.hello["tenant"])
    assert line["problem"] == run.ends[0]["message"]
    assert not [one for one in logs if one["event"] in {"agent_failed", "run_attempt_crashed"}]


@pytest.mark.parametrize("content", ODD_ENDS)
async def test_what_an_agent_fails_with_is_made_fit_to_be_sent(
    stage: Gateways, arrive: Arrive, content: str
) -> None:
    """An exception, None, a number: the run fails once, and the agent is not called again."""
    alice = await arrive(stage[0])
    run = await fails(alice, "misending", content)
    _, message, code = ODD_ENDS[content]
    assert (run.ends[0]["message"], run.ends[0]["code"]) == (message, code)


@pytest.mark.parametrize("content", ODD_USAGE)
async def test_usage_that_is_none_fails_the_run_once(
    stage: Gateways, arrive: Arrive, content: str
) -> None:
    """A library's own object in `context.usage` is named, and the run is not tried again."""
    alice = await arrive(stage[0])
    run = await fails(alice, "miscounting", content)
    assert run.ends[0]["code"] == "agent_error"
    assert "usage" in run.ends[0]["message"] or "TokenUsage" in run.ends[0]["message"]
    assert "usage" not in run.ends[0]


async def test_two_questions_need_two_ids(stage: Gateways, arrive: Arrive) -> None:
    """One answer could not tell which it is for."""
    alice = await arrive(stage[0])
    run = await fails(alice, "asking_twice", "x")
    assert "asked twice under the id 'same'" in run.ends[0]["message"]
    assert (await alice.context())["interrupts"] == []


@pytest.mark.parametrize("content", ["at once", "slowly"])
async def test_halves_of_a_character_are_joined_and_lone_ones_replaced(
    stage: Gateways, arrive: Arrive, content: str
) -> None:
    """In the text, in arguments, in results, in custom events and in the state."""
    alice = await arrive(stage[0])
    bob = await arrive(stage[1], "bob", codec="msgpack")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask(content, agent="halving")
    for person in (alice, bob):
        run = await person.sees_end(run_id)
        assert (run.outcome, run.text) == ("success", f"a {EMOJI} b {LOST} c {LOST}")
        assert run.results == {"t": [f"{EMOJI}x{LOST}"]}
        (custom,) = person.log.of_type("CUSTOM")
        assert custom["event"]["value"] == {LOST: [LOST]}
        deltas = [one["event"]["delta"] for one in person.log.of_type("TOOL_CALL_ARGS")]
        assert deltas == ['"', EMOJI, LOST]
    context = await alice.context()
    assert context["memory"] == {"x": f"{EMOJI}{LOST}"}
    assert context["tool_calls"][-1]["arguments"] == f'"{EMOJI}{LOST}'
    assert (await alice.history())[-1]["content"] == run.text


async def test_a_reply_has_a_longest_length(own_stage: Any, arrive: Arrive) -> None:
    """`GATEWAY_MAX_REPLY_BYTES`: what was said up to there is kept."""
    alice = await arrive(await own_stage(max_reply_bytes=20_000))
    run = await alice.sees_end(await alice.ask("x", agent="novel"))
    assert run.outcome == "error"
    assert "longer than 20000 bytes" in run.ends[0]["message"]
    assert len(run.text) == 16_000


async def test_a_function_that_returns_is_refused_when_it_runs(
    stage: Gateways, arrive: Arrive
) -> None:
    """A plain function may return an async iterator; what it returns is seen only then."""
    alice = await arrive(stage[0])
    run = await alice.sees_end(await alice.ask("x", agent="returning_text"))
    assert run.ends[0]["code"] == "agent_error"
    assert "returned a str; it must be an async generator" in run.ends[0]["message"]


async def test_an_iterator_that_cannot_be_closed_is_an_agent_too(
    stage: Gateways, arrive: Arrive
) -> None:
    """An agent is called and iterated over; nothing more is asked of it."""
    alice = await arrive(stage[0])
    run = await alice.sees_end(await alice.ask("x", agent="Iterating"))
    assert (run.outcome, run.text) == ("success", "one two")


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        ("returning", "'mine' is a coroutine: it returns a value where an agent yields"),
        ("plain_generator", "'mine' is a generator that is not async"),
        ("of_nothing", "'mine' cannot be called with a RunContext alone"),
        ("Called", "'mine' is a class: name an instance of it"),
    ],
)
def test_what_does_not_yield_is_refused_when_it_is_loaded(attribute: str, problem: str) -> None:
    """The start ends, with the agent's name and what to write."""
    setting = f"mine=tests.promises.runs.misspeaking:{attribute}"
    with pytest.raises(SettingError, match=problem) as raised:
        AgentRegistry.load(load_settings({}, agents=(setting,)))
    assert "write `async def` and `yield`" in str(raised.value)
