"""The four failures this project grew out of, shown impossible."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.run_log import TERMINAL
from tests.support.eventually import passing
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import OwnRedis
    from tests.promises.runs.conftest import Arrive, Gateways, OwnWorker
    from tests.promises.runs.person import Person


# (a) the conversation is known before completion


async def test_first_message_tells_its_conversation_before_the_run_ends(
    stage: Gateways, arrive: Arrive
) -> None:
    """Sent without a conversation: the reply has its id and the run's while the run goes on."""
    alice = await arrive(stage[0])
    accepted = await alice.client.request(
        "send_message", client_message_id="first", content="/count 30 20"
    )
    alice.conversation, run_id = accepted["conversation_id"], accepted["run_id"]
    assert not alice.run(run_id).ends
    second = await alice.ask("again")
    assert not alice.run(run_id).ends
    assert (await alice.sees_end(run_id)).text.split() == [str(n) for n in range(1, 31)]
    await alice.sees_end(second)
    roles = [(m["role"], m["content"]) for m in await alice.history()]
    assert [role for role, _ in roles] == ["user", "user", "assistant", "assistant"]
    assert [content for role, content in roles if role == "user"] == ["/count 30 20", "again"]


async def test_retry_of_a_first_message_finds_its_conversation_and_its_run(
    stage: Gateways, arrive: Arrive
) -> None:
    """The same client_message_id on another replica: same conversation, same run, no second one."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1])
    request = {"client_message_id": "first", "content": "/count 10 10"}
    first = await alice.client.request("send_message", **request)
    again = await bob.client.request("send_message", **request)
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    for name in ("conversation_id", "message_id", "run_id", "epoch", "offset"):
        assert again[name] == first[name]
    alice.conversation = first["conversation_id"]
    await alice.sees_end(first["run_id"])
    assert [m["role"] for m in await alice.history()] == ["user", "assistant"]


# (b) persisted before complete

ENDINGS = [
    ("hello there", "demo", "success", "complete"),
    ("/count 20 2", "demo", "success", "complete"),
    ('/tool weather {"town": "Ulm"}', "demo", "success", "complete"),
    ("/workflow 3 5", "demo", "success", "complete"),
    ("/remember name Ada", "demo", "success", "complete"),
    ("/approve May I?", "demo", "interrupt", "complete"),
    ("/fail", "demo", "error", "failed"),
    ("all at once", "whole", "success", "complete"),
    ("20", "calling", "success", "complete"),
    ("anything", "broken", "error", "failed"),
    ("surrogate", "broken", "success", "complete"),
    ("surrogate in the error", "broken", "error", "failed"),
    ("patch", "broken", "error", "failed"),
    ("huge patch", "broken", "error", "failed"),
    ("interrupt", "broken", "error", "failed"),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=[f"{e[1]}: {e[0]}" for e in ENDINGS])
async def test_message_is_in_history_before_its_run_ends(
    stage: Gateways, arrive: Arrive, ending: tuple[str, str, str, str]
) -> None:
    """Whatever a run does: its MESSAGE_CREATED stands right before its one terminal event."""
    content, agent, outcome, status = ending
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask(content, agent=agent)
    for person in (alice, bob):
        run = await person.sees_end(run_id)
        assert run.outcome == outcome
        assert run.message is not None
        assert run.message["status"] == status
        types = [frame["event"]["type"] for frame in person.log.events]
        assert types[-2] == "MESSAGE_CREATED"
        assert types[-1] in TERMINAL
    assert (await alice.history())[-1] == run.message
    assert "internal detail" not in json.dumps([frame["event"] for frame in alice.log.events])


# (c) storage fails during finish


async def held_run(person: Person, file: Path) -> str:
    """Start a run that says a last word and ends when `file` is there."""
    run_id = await person.ask(str(file), agent="held")
    await person.reads(run_id, "held")
    return run_id


async def assert_ended_once(person: Person, run_id: str) -> None:
    """Check that a held run ended once, with all its text, for its watchers and in the history."""
    run = await person.sees_end(run_id)
    assert (run.outcome, run.text) == ("success", "held, released")
    assert [m["content"] for m in await person.history()][1:] == ["held, released"]


async def test_no_completion_while_the_worker_cannot_reach_redis(
    bare: Gateways, own_worker: OwnWorker, bare_redis: Any, arrive: Arrive, tmp_path: Path
) -> None:
    """The link goes dead at the run's end: nothing is claimed to be done; then it ends, once."""
    async with Proxy(bare_redis.port) as link:
        await own_worker(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=0.5)
        alice = await arrive(bare[0])
        run_id = await held_run(alice, tmp_path / "go")
        await link.refuse()
        await link.cut()
        (tmp_path / "go").touch()
        await passing(2.5)  # longer than the lease and than the store waits
        assert not alice.run(run_id).ends
        assert [m["role"] for m in await alice.history()] == ["user"]
        await link.accept()
        await assert_ended_once(alice, run_id)


async def test_lost_replies_at_the_end_double_nothing(
    bare: Gateways, own_worker: OwnWorker, bare_redis: Any, arrive: Arrive, tmp_path: Path
) -> None:
    """Redis took the last words and the worker never heard: it repeats them, once they count."""
    async with Proxy(bare_redis.port) as link:
        worker = await own_worker(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=0.5)
        alice = await arrive(bare[0])
        run_id = await held_run(alice, tmp_path / "go")
        link.swallow_replies()
        (tmp_path / "go").touch()
        await alice.reads(run_id, "released")
        assert not alice.run(run_id).ends
        await link.cut()
        link.heal()
        await assert_ended_once(alice, run_id)
        after = await alice.ask("and on")
        assert (await alice.sees_end(after)).text == "and on"
        assert worker.is_running


async def test_no_completion_while_redis_refuses_to_write(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive, tmp_path: Path
) -> None:
    """Redis is out of memory at the run's end: no half of an end; with memory, a whole one."""
    redis = await own_redis()
    alice = await arrive(await own_stage(redis_url=redis.url))
    run_id = await held_run(alice, tmp_path / "go")
    await redis.call("CONFIG", "SET", "maxmemory", 1)
    (tmp_path / "go").touch()
    await passing(2.5)
    assert not alice.run(run_id).ends
    assert not alice.log.of_type("TEXT_MESSAGE_END")
    await redis.call("CONFIG", "SET", "maxmemory", 0)
    await assert_ended_once(alice, run_id)


# (d) history and prompt have each message once


async def test_prompt_and_history_have_each_message_once(stage: Gateways, arrive: Arrive) -> None:
    """After streaming and non-streaming runs a model is given all messages, each once, in order."""
    alice = await arrive(stage[0])
    said: list[list[str]] = []
    asked = [("streamed words here", "demo"), ("at once", "whole"), ("/fail", "demo")]
    for content, agent in asked:
        run = await alice.sees_end(await alice.ask(content, agent=agent))
        said += [["user", content], ["assistant", run.text]]
    prompted = await alice.sees_end(await alice.ask("what do you see?", agent="prompting"))
    assert json.loads(prompted.text) == [*said, ["user", "what do you see?"]]
    history = [[m["role"], m["content"]] for m in await alice.history()]
    assert history == [*said, ["user", "what do you see?"], ["assistant", prompted.text]]


async def test_prompt_of_a_queued_run_lacks_what_was_said_after_it(
    stage: Gateways, arrive: Arrive
) -> None:
    """Three messages at once: each run sees those before it, answered, and its own as the last."""
    alice = await arrive(stage[0])
    await alice.create()
    runs = await asyncio.gather(
        *(alice.ask(content, agent="prompting") for content in ("one", "two", "three"))
    )
    prompts = [json.loads((await alice.sees_end(run_id)).text) for run_id in runs]
    users = [[text for role, text in prompt if role == "user"] for prompt in prompts]
    assert users == [["one"], ["one", "two"], ["one", "two", "three"]]
    assert [len(prompt) for prompt in prompts] == [1, 3, 5]
