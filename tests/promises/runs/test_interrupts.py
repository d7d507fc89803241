"""A run asks a person: recorded, answered once, held against what was asked, in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.promises.runs.agents import SOON_S
from tests.support.eventually import passing

if TYPE_CHECKING:
    from tests.conftest import OwnGateway
    from tests.promises.runs.conftest import Arrive, Gateways
    from tests.promises.runs.person import Person
    from tests.support.redis_node import RedisNode

YES = {"yes": True}


async def asked(person: Person, content: str = "please") -> tuple[str, dict[str, Any]]:
    """Start a run that asks; return its id and the interrupt as the log tells it."""
    run_id = await person.ask(content, agent="asking")
    run = await person.sees_end(run_id)
    assert run.outcome == "interrupt"
    (interrupt,) = run.ends[0]["outcome"]["interrupts"]
    return run_id, interrupt


def questions(person: Person, run_id: str) -> list[str]:
    """Return the ids of what a run asked, in the order of asking."""
    return [one["id"] for one in person.run(run_id).ends[0]["outcome"]["interrupts"]]


async def answer(person: Person, run_id: str, *, nth: int = 0, **fields: object) -> dict[str, Any]:
    """Answer a question of a run; return the reply, an `error` too."""
    given: dict[str, Any] = {"status": "resolved"} | fields
    if "interrupt_id" not in given:
        await person.sees_end(run_id)
        given["interrupt_id"] = questions(person, run_id)[nth]
    request = await person.client.start(
        "respond_to_interrupt", conversation_id=person.conversation, run_id=run_id, **given
    )
    return await person.client.answer_to(request)


async def next_run(person: Person, after: str) -> Any:
    """Wait for the end of the run that began after another; return it."""

    def last_run() -> str:
        return person.log.of_type("RUN_STARTED")[-1]["event"]["runId"]

    await person.sees(lambda: last_run() != after, what="a run goes on with the answer")
    return await person.sees_end(last_run())


async def test_question_is_recorded_and_its_answer_goes_on(stage: Gateways, arrive: Arrive) -> None:
    """In the log, the context and a snapshot; a new run has the answer; then it is gone."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id, interrupt = await asked(alice)
    assert interrupt["message"] == "May I?"
    assert interrupt["expiresAt"]
    (pending,) = (await bob.context())["interrupts"]
    assert (pending["runId"], pending["id"]) == (run_id, interrupt["id"])
    await bob.join(alice.conversation, cursor={"epoch": "gone", "offset": 0})
    assert bob.log.snapshots[0]["context"]["interrupts"] == [pending]
    reply = await answer(bob, run_id, interrupt_id=pending["id"], payload=YES)
    assert reply["winner"] is True
    run = await next_run(alice, run_id)
    assert run.text == 'Answer: {"yes": true}'
    assert (await alice.context())["interrupts"] == []
    await alice.history()


async def test_two_answers_at_once_have_one_winner(stage: Gateways, arrive: Arrive) -> None:
    """At two replicas: one is told that it counts, the other that it does not; one run goes on."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    for _ in range(5):
        run_id, _ = await asked(alice)
        answers = ((alice, YES), (bob, YES), (alice, {"yes": False}))
        replies = await asyncio.gather(
            *(answer(person, run_id, payload=payload) for person, payload in answers)
        )
        assert sorted(reply["winner"] for reply in replies) == [False, False, True]
        await next_run(alice, run_id)
    assert len(alice.log.of_type("RUN_STARTED")) == 10
    assert len(await alice.history()) == 5 * 3


async def test_answer_repeated_by_the_winner_has_won(stage: Gateways, arrive: Arrive) -> None:
    """As after a reply that was lost, at any replica; nobody else's does, nor another answer."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id, _ = await asked(alice)
    assert (await answer(alice, run_id, payload=YES))["winner"] is True
    await next_run(alice, run_id)
    await alice.returns(stage[1])
    assert (await answer(alice, run_id, payload=YES))["winner"] is True
    assert (await answer(alice, run_id, payload={"yes": False}))["winner"] is False
    assert (await answer(bob, run_id, payload=YES))["winner"] is False
    assert len(await alice.history()) == 3


async def test_several_questions_are_answered_by_one_run(stage: Gateways, arrive: Arrive) -> None:
    """It begins with the last answer, of whomever, and has all of them."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask("x", agent="asking_several")
    assert len((await alice.sees_end(run_id)).ends[0]["outcome"]["interrupts"]) == 3
    await answer(bob, run_id, nth=2, payload=3)
    await answer(alice, run_id, nth=0, status="cancelled")
    assert [one["id"] for one in (await alice.context())["interrupts"]] == [
        questions(alice, run_id)[1]
    ]
    assert (await alice.sees_end(await alice.ask("meanwhile"))).text == "meanwhile"
    assert (await answer(bob, run_id, nth=1, payload="2"))["winner"] is True
    assert (await answer(bob, run_id, nth=2, payload=3))["winner"] is True
    await alice.sees_type("RUN_STARTED", count=3)
    last = alice.log.of_type("RUN_STARTED")[-1]["event"]["runId"]
    answers = [("first", "cancelled", None), ("second", "resolved", "2"), ("third", "resolved", 3)]
    assert (await alice.sees_end(last)).text == f"{answers} of {run_id}"
    assert len(alice.log.of_type("RUN_STARTED")) == 3
    assert (await alice.context())["interrupts"] == []


async def test_question_that_is_not_answered_in_time_does_not_hold_up_the_others(
    stage: Gateways, arrive: Arrive
) -> None:
    """At its deadline a run goes on with the answers there are."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("soon", agent="asking_several")
    await alice.sees_end(run_id)
    assert (await answer(alice, run_id, nth=0, payload=1))["winner"] is True
    await alice.sees_type("RUN_STARTED", count=2)
    last = alice.log.of_type("RUN_STARTED")[-1]["event"]["runId"]
    answers = [
        ("first", "resolved", 1),
        ("second", "cancelled", None),
        ("third", "cancelled", None),
    ]
    assert (await alice.sees_end(last)).text == f"{answers} of {run_id}"
    assert (await answer(alice, run_id, nth=2, payload=3))["code"] == "conflict"
    assert (await alice.context())["active_run"] is None


async def test_answer_that_does_not_fit_is_refused_and_may_be_mended(
    stage: Gateways, arrive: Arrive
) -> None:
    """Held against the schema that was asked for; the question stays open."""
    alice = await arrive(stage[0])
    run_id, _ = await asked(alice)
    for payload in (None, {}, {"yes": "maybe"}, "yes", [True]):
        error = await answer(alice, run_id, payload=payload)
        assert error["code"] == "bad_request", payload
        assert "$.payload" in error["message"]
    assert (await answer(alice, run_id, payload=YES))["winner"] is True
    assert (await next_run(alice, run_id)).text == 'Answer: {"yes": true}'


async def test_question_cannot_be_answered_before_it_was_read(
    stage: Gateways, arrive: Arrive
) -> None:
    """Not under the agent's own id for it, nor one made from the run's: nothing is taken."""
    alice = await arrive(stage[0])
    for _ in range(5):
        run_id = await alice.ask("please", agent="asking")
        tries = 0
        while tries < 20 or not alice.run(run_id).ends:
            for guess in ("the_question", f"i_{run_id}"):
                bad = await answer(alice, run_id, interrupt_id=guess, payload={"yes": "maybe"})
                assert bad["code"] == "not_found"
            tries += 1
        assert (await answer(alice, run_id, payload={"yes": "maybe"}))["code"] == "bad_request"
        assert (await answer(alice, run_id, payload=YES))["winner"] is True
        assert (await next_run(alice, run_id)).text == 'Answer: {"yes": true}'


async def test_declined_question_needs_no_payload(stage: Gateways, arrive: Arrive) -> None:
    """`cancelled` is an answer too."""
    alice = await arrive(stage[0])
    run_id, _ = await asked(alice)
    assert (await answer(alice, run_id, status="cancelled"))["winner"] is True
    assert (await next_run(alice, run_id)).text == "Answer: null"


async def test_question_can_be_answered_until_its_deadline(stage: Gateways, arrive: Arrive) -> None:
    """Later it is refused with `conflict`, and the context does not offer it any more."""
    alice = await arrive(stage[0])
    run_id, _ = await asked(alice, "soon")
    assert (await answer(alice, run_id))["winner"] is True
    await next_run(alice, run_id)
    run_id, _ = await asked(alice, "soon")
    await passing(SOON_S + 0.2)
    assert (await alice.context())["interrupts"] == []
    assert (await answer(alice, run_id))["code"] == "conflict"
    assert (await answer(alice, run_id))["code"] == "conflict"
    assert (await alice.context())["active_run"] is None


async def test_same_question_of_another_run_is_another_question(
    stage: Gateways, arrive: Arrive
) -> None:
    """An agent asks under one id always: what was answered before answers nothing now."""
    alice = await arrive(stage[0])
    first, _ = await asked(alice)
    second, _ = await asked(alice)
    assert len((await alice.context())["interrupts"]) == 2
    assert (await answer(alice, second, payload=YES))["winner"] is True
    await next_run(alice, second)
    assert (await answer(alice, first, payload=YES))["winner"] is True
    assert (await answer(alice, second, payload={"yes": False}))["winner"] is False


async def test_question_that_nobody_asked_is_not_found(stage: Gateways, arrive: Arrive) -> None:
    """Unknown id, unknown run, another conversation, a stranger."""
    alice, eve = await arrive(stage[0]), await arrive(stage[1], "eve")
    run_id, interrupt = await asked(alice)
    eve.conversation = alice.conversation
    for person, run, question in [
        (alice, run_id, "another"),
        (alice, "r_another", interrupt["id"]),
        (eve, run_id, interrupt["id"]),
    ]:
        error = await answer(person, run, interrupt_id=question, payload=YES)
        assert error["code"] == "not_found"


async def test_answer_while_another_run_goes_on_waits_its_turn(
    stage: Gateways, arrive: Arrive
) -> None:
    """The run that goes on with the answer comes next, before messages that waited."""
    alice = await arrive(stage[0])
    asking_run, _ = await asked(alice)
    counting = await alice.ask("/count 30 20")
    waiting = await alice.ask("waiting")
    assert (await answer(alice, asking_run, payload=YES))["winner"] is True
    await alice.sees_end(waiting)
    order = [frame["event"]["runId"] for frame in alice.log.of_type("RUN_FINISHED")]
    assert (order[1], order[3]) == (counting, waiting)
    assert alice.run(order[2]).text == 'Answer: {"yes": true}'


async def test_question_survives_the_restart_of_everything(
    durable_redis: RedisNode, own_gateway: OwnGateway, arrive: Arrive
) -> None:
    """Gateway, worker and Redis are killed between question and answer."""
    redis = durable_redis
    gateway = await own_gateway(redis_url=redis.url, default_agent="demo", run_lease_s=1)
    alice = await arrive(gateway)
    run_id = await alice.ask("/approve Shall I?")
    run = await alice.sees_end(run_id)
    (interrupt,) = run.ends[0]["outcome"]["interrupts"]
    redis.kill()
    await gateway.kill()
    await redis.start()
    await gateway.start()
    await alice.returns(gateway)
    (pending,) = (await alice.context())["interrupts"]
    assert pending["id"] == interrupt["id"]
    reply = await answer(alice, run_id, interrupt_id=interrupt["id"], payload={"ok": 1})
    assert reply["winner"] is True
    run = await next_run(alice, run_id)
    assert run.text == 'The answer is {"ok": 1}, so I go on.'


async def test_answer_that_takes_for_ever_to_check_is_refused(
    own_stage: Any, arrive: Arrive
) -> None:
    """A pattern that never ends is cut off; nobody else waits for it, and it can be declined."""
    gateway = await own_stage()
    alice, bob = await arrive(gateway), await arrive(gateway, "bob")
    run_id = await alice.ask("x", agent="asking_pattern")
    await alice.sees_end(run_id)
    hard = await alice.client.start(
        "respond_to_interrupt",
        conversation_id=alice.conversation,
        run_id=run_id,
        interrupt_id=questions(alice, run_id)[0],
        status="resolved",
        payload="a" * 50 + "!",
    )
    assert (await bob.client.request("ping"))["type"] == "pong"
    error = await alice.client.answer_to(hard)
    assert (error["code"], error["retryable"]) == ("bad_request", False)
    assert error["message"] == "$.payload: cannot be validated against the schema"
    assert (await answer(alice, run_id, status="cancelled"))["winner"] is True


async def test_answer_is_as_large_as_a_message_at_most(stage: Gateways, arrive: Arrive) -> None:
    """Whether it is to fit a schema or not."""
    alice = await arrive(stage[0])
    run_id, _ = await asked(alice)
    for status in ("resolved", "cancelled"):
        error = await answer(alice, run_id, status=status, payload="x" * 65_535)
        assert error["code"] == "too_large"
        assert "$.payload" in error["message"]
    assert (await answer(alice, run_id, payload=YES))["winner"] is True
