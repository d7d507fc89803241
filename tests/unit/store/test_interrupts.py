"""Interrupts in Redis: an answer is taken as an answer to what it was checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import BadRequest, NotFound
from gateway.store.interrupts import Answer
from gateway.store.runs import Ending, RunInput, RunRequest
from tests.support.stores import opened
from tests.unit.store.test_key_leak import begin, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway.identity.caller import Caller
    from gateway.protocol.json_text import JsonText
    from gateway.store.store import Store
    from tests.conftest import OwnRedis

ASKED = [("i_1", 2**50, b'own|{"id":"i_1"}')]
ASKING = Ending("interrupt", b'{"type":"X"}', "complete", ASKED)


@pytest.fixture
async def own_store(own_redis: OwnRedis) -> AsyncIterator[Store]:
    """A store in which no other test has runs."""
    async with opened((await own_redis()).url) as store:
        yield store


def refusing(asked: JsonText) -> None:
    """Find that no answer fits."""
    del asked
    raise BadRequest("$.payload: does not match the schema")


async def respond(
    store: Store, caller: Caller, check: Callable[[JsonText], Awaitable[None]]
) -> bool:
    """Answer the question `i_1` of the run `r_1`."""
    return await store.interrupts.respond(
        caller,
        "c_1",
        Answer("i_1", "r_1", "resolved", {"yes": "maybe"}),
        request=RunRequest("r_2", "", "m_2"),
        given=RunInput(by=caller.subject, resumes_run="r_1"),
        check=check,
    )


def asked_when_called(store: Store, finish: Callable[[], Awaitable[None]], at: int) -> None:
    """Let the run ask between the look at the question and the answer to it."""
    calls = store.interrupts._calls  # a moment that no client can choose
    run, done = calls.run, [0]

    async def run_then_ask(*args: Any, **options: Any) -> Any:
        reply = await run(*args, **options)
        done[0] += 1
        if done[0] == at:
            await finish()
        return reply

    calls.run = run_then_ask  # type: ignore[method-assign]


async def test_answer_given_while_the_question_is_asked_is_checked(
    own_store: Store, alice: Caller
) -> None:
    """The look at it found nothing; the answer meets the question, and is checked after all."""
    store = own_store
    await start(store, alice, "c_1", "r_1", may_create=True)
    attempt = await begin(store, "r_1")
    asked_when_called(store, lambda: store.runs.finish(attempt, ASKING, last_batch=0), at=1)
    with pytest.raises(BadRequest):
        await respond(store, alice, refusing)
    (waiting,) = (await store.contexts.get(alice, "c_1")).interrupts
    assert waiting.value() == {"runId": "r_1", "id": "i_1"}


async def test_answer_to_what_is_never_asked_is_not_found(own_store: Store, alice: Caller) -> None:
    """However it is checked."""
    await start(own_store, alice, "c_1", "r_1", may_create=True)
    with pytest.raises(NotFound):
        await respond(own_store, alice, refusing)


async def test_agent_is_answered_under_its_own_id(own_store: Store, alice: Caller) -> None:
    """Clients know another, which nobody can guess."""
    store = own_store
    await start(store, alice, "c_1", "r_1", may_create=True)
    await store.runs.finish(await begin(store, "r_1"), ASKING, last_batch=0)
    seen: list[JsonText] = []

    async def see(asked: JsonText) -> None:
        seen.append(asked)

    assert await respond(store, alice, see)
    assert [one.value()["id"] for one in seen] == ["i_1"]
    assert (await begin(store, "r_2")).input.resume == [
        {"interruptId": "own", "status": "resolved", "payload": {"yes": "maybe"}}
    ]
