"""How many runs may wait: a message too many is refused whole, and accepted when there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.promises.runs.test_interrupts import answer

if TYPE_CHECKING:
    from tests.conftest import OwnRedis
    from tests.promises.runs.conftest import Arrive
    from tests.promises.runs.person import Person

WAITING = 3


async def refused(person: Person, said: str = "too many", **fields: Any) -> dict[str, Any]:
    """Send a message that must be refused for the runs there are; return the details."""
    request = {"conversation_id": person.conversation} if person.conversation else {}
    error = await person.client.refusal(
        "send_message", client_message_id=said, content="x", **(request | fields)
    )
    assert (error["code"], error["retryable"]) == ("rate_limited", True)
    assert error["retry_after_ms"] > 0
    details: dict[str, Any] = error["details"]
    return details


async def test_so_many_runs_of_a_conversation_wait(own_stage: Any, arrive: Arrive) -> None:
    """From whomever; no trace of the one too many, which is taken once another has its turn."""
    gateway = await own_stage(waiting_runs_per_conversation=WAITING)
    alice, bob = await arrive(gateway), await arrive(gateway, "bob")
    await bob.join(await alice.create(visibility="open"))
    going_on = await alice.ask("x", agent="silent")
    await alice.sees_type("RUN_STARTED")  # the next event of a run is the end of this one
    waiting = [await alice.ask(str(number)) for number in range(WAITING)]
    before = await alice.context()
    for person in (alice, bob):
        assert await refused(person) == {"of": "conversation", "limit": WAITING}
    assert (await alice.context())["position"] == before["position"]
    assert len(await alice.history()) == 1 + WAITING
    note = await bob.send("no run, so it is taken", agent=None)
    assert "run_id" not in note
    assert (await alice.ask("0", client_message_id="alice-2")) == waiting[0]  # a duplicate
    assert await alice.cancel(going_on) == "cancelled"
    await alice.sees_end(waiting[-1])
    accepted = await alice.send("x", client_message_id="too many")
    assert accepted["duplicate"] is False
    await alice.sees_end(accepted["run_id"])


async def test_who_interrupts_needs_no_place_among_those_who_wait(
    own_stage: Any, arrive: Arrive
) -> None:
    """The run that is cut makes one."""
    alice = await arrive(await own_stage(waiting_runs_per_conversation=1))
    await alice.ask("x", agent="silent")
    waiting = await alice.ask("waiting")
    await refused(alice)
    urgent = await alice.ask("urgent", if_running="interrupt")
    assert (await alice.sees_end(urgent)).text == "urgent"
    assert (await alice.sees_end(waiting)).text == "waiting"


async def test_so_many_runs_of_a_subject_are_open(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """Within a shard, which one conversation is; others of the tenant have room."""
    gateway = await own_stage(redis_url=(await own_redis()).url, open_runs_per_subject=2)
    alice, bob = await arrive(gateway), await arrive(gateway, "bob")
    await bob.join(await alice.create(visibility="open"))
    silent = await alice.ask("x", agent="silent")
    waiting = await alice.ask("waiting")
    assert await refused(alice) == {"of": "subject", "limit": 2}
    of_bob = await bob.ask("of bob")
    assert await alice.cancel(silent) == "cancelled"
    for run_id in (waiting, of_bob):
        assert (await alice.sees_end(run_id)).outcome == "success"
    assert (await alice.sees_end(await alice.ask("again"))).text == "again"


async def test_a_conversation_whose_first_message_is_refused_is_not_made(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """It is in no list, and no key tells of it; the same message makes it later."""
    redis = await own_redis()
    gateway = await own_stage(redis_url=redis.url, open_runs_per_tenant=1)
    bob = await arrive(gateway, "bob")
    runs = {}
    for number in range(200):  # until one is in a shard that is full
        bob.conversation = f"c_{number}"
        accepted = await bob.client.start(
            "send_message", client_message_id=f"new {number}", content="x", agent="silent"
        )
        runs[number] = await bob.client.answer_to(accepted)
        if runs[number]["type"] == "error":
            break
    *made, error = runs.values()
    assert (error["code"], error["details"]) == ("rate_limited", {"of": "tenant", "limit": 1})
    listed = await bob.client.request("list_conversations", limit=200)
    assert {one["conversation_id"] for one in listed["conversations"]} == {
        one["conversation_id"] for one in made
    }
    (line,) = await redis.call("KEYS", "*:u:bob:conversations")
    assert await redis.call("ZCARD", line) == len(made)
    for one in made:
        bob.conversation = one["conversation_id"]
        await bob.cancel(one["run_id"])
    accepted = await bob.client.request(
        "send_message", client_message_id=f"new {len(made)}", content="x", agent=None
    )
    assert accepted["duplicate"] is False


async def test_a_run_that_goes_on_with_an_answer_is_always_taken(
    own_stage: Any, arrive: Arrive
) -> None:
    """It was promised when the question was asked."""
    gateway = await own_stage(waiting_runs_per_conversation=1)
    alice = await arrive(gateway)
    asking = await alice.ask("please", agent="asking")
    await alice.sees_end(asking)
    silent, waiting = await alice.ask("x", agent="silent"), await alice.ask("waiting")
    await refused(alice)
    assert (await answer(alice, asking, payload={"yes": True}))["winner"] is True
    assert await alice.cancel(silent) == "cancelled"
    await alice.sees_end(waiting)
    assert len(alice.log.of_type("RUN_FINISHED")) == 4
