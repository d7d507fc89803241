"""Tests of agents without Redis: what `ask` tells is what a gateway tells."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003  # of an agent, which is inspected
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.agents import AgentError, RunContext, agent
from gateway.agents.demo import demo
from gateway.protocol.events import StateDelta
from gateway.testing import ask, run_context
from tests.promises.runs.person import Person

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler

DOCS = Path(__file__).parents[2] / "docs"
ANSWER = {"approved": True}


@pytest.mark.parametrize(
    "text",
    [
        "just some words",
        "/count 5 1",
        "/remember name Ada",
        "/workflow 2 1",
        '/tool weather {"town": "Ulm"}',
        "/approve Shall I?",
    ],
)
async def test_what_is_told_is_what_a_gateway_tells(
    in_process: InProcess, dial: Dialler, text: str
) -> None:
    """Text, events, memory, workflow and questions of the demo, over a socket and without one."""
    gateway = await in_process(default_agent="demo")
    person = await Person.at(dial, gateway)
    run = await person.sees_end(await person.ask(text))
    context = await person.context()
    reply = await ask(demo, text)
    assert reply.text == run.text
    assert (reply.memory, reply.workflow) == (context["memory"], context["workflow"])
    asked = run.ends[0]["outcome"].get("interrupts", [])
    assert [one.message for one in reply.interrupts] == [one["message"] for one in asked]
    said = [event.__struct_config__.tag for event in reply.events]
    heard = [event["event"]["type"] for event in person.log.events]
    assert said == [kind for kind in heard if kind in set(said)]


async def test_question_is_answered(in_process: InProcess, dial: Dialler) -> None:
    """The run that goes on has the answer, as a gateway gives it."""
    gateway = await in_process(default_agent="demo")
    person = await Person.at(dial, gateway)
    run = await person.sees_end(await person.ask("/approve Shall I?"))
    await person.client.request(
        "respond_to_interrupt",
        conversation_id=person.conversation,
        run_id=run.run_id,
        interrupt_id=run.ends[0]["outcome"]["interrupts"][0]["id"],
        status="resolved",
        payload=ANSWER,
    )
    await person.sees_type("RUN_FINISHED", count=2)
    told = (await person.client.history(person.conversation))[-1]["content"]
    reply = await ask(demo, "/approve Shall I?")
    assert (await reply.answer(ANSWER)).text == told
    with pytest.raises(ValueError, match="asked nothing"):
        await (await ask(demo, "hello")).answer(ANSWER)


async def test_conversation_goes_on() -> None:
    """With its messages, its memory and its tool calls; the test's own values are left alone."""

    async def recalling(context: RunContext) -> AsyncIterator[Any]:
        said = [message.text() for message in await context.messages()]
        yield f"{len(said)} messages, the last is {said[-1]!r}, I know {sorted(context.memory)}"
        yield StateDelta(delta=[{"op": "add", "path": f"/memory/m{len(said)}", "value": 1}])

    mine: dict[str, Any] = {}
    first = await ask(recalling, "one", memory=mine)
    second = await first.ask("two", subject="bob")
    assert second.text == "3 messages, the last is 'two', I know ['m1']"
    assert (first.memory, second.memory, mine) == ({"m1": 1}, {"m1": 1, "m3": 1}, {})
    called = await ask(demo, '/tool weather {"town": "Ulm"}')
    (record,) = (await called.ask("thanks")).context.tool_calls
    assert (record["name"], record["status"]) == ("weather", "complete")


async def test_takeover_is_tried() -> None:
    """A second attempt has what the first has said and done."""
    thrown: list[int] = []

    async def throw() -> int:
        thrown.append(1)
        return 4

    @agent(takeover="resume")
    async def careful(context: RunContext) -> AsyncIterator[str]:
        if not context.emitted:
            yield "I throw: "
        yield str(await context.step("die", throw, int))

    first = await ask(careful, "go")
    again = await ask(careful, "go", attempt=2, emitted="I throw: ", journal=first.journal)
    assert (first.text, again.text, len(thrown)) == ("I throw: 4", "4", 1)


@pytest.mark.parametrize("item", [None, 42, b"x", {"type": "RUN_FINISHED"}])
async def test_what_an_agent_may_not_yield_is_refused(item: object) -> None:
    """By the kinds that it may."""

    async def odd(context: RunContext) -> AsyncIterator[Any]:
        yield item

    with pytest.raises(TypeError, match="text, events or interrupts"):
        await ask(odd, "hello")


async def test_bad_change_of_state_is_refused() -> None:
    """As a gateway refuses it."""

    async def clumsy(context: RunContext) -> AsyncIterator[Any]:
        yield StateDelta(delta=[{"op": "remove", "path": "/memory/nothing"}])

    with pytest.raises(AgentError, match="invalid change to its state"):
        await ask(clumsy, "hello")


async def test_tool_is_given_a_context() -> None:
    """`run_context` is what a tool's parameter `context` is given."""
    context = run_context("hello", subject="bob", memory={"name": "Ada"})
    assert (context.subject, context.memory["name"]) == ("bob", "Ada")
    assert await context.text() == "hello"


async def test_example_of_the_page_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/write-an-agent.md shows it as it is, and each of its tests has three lines."""
    monkeypatch.syspath_prepend(DOCS / "examples")
    import test_dice  # noqa: PLC0415  # found there

    page = (DOCS / "how-to" / "write-an-agent.md").read_text(encoding="utf-8")
    assert (DOCS / "examples" / "test_dice.py").read_text(encoding="utf-8") in page
    await test_dice.test_three_dice_are_thrown_and_summed()
    await test_dice.test_words_are_no_number()
