"""Runs on the oldest Redis we support, behind sentinels, and on a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.agents import NOVEL
from tests.support.eventually import eventually
from tests.support.redis_servers import cluster, redis7, sentinels, standalone

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive
    from tests.promises.runs.person import Person

needs_redis7 = pytest.mark.skipif(redis7() is None, reason="no redis-server on PATH")
OPENERS = {
    "redis 7": lambda: standalone(binary=redis7()),
    "sentinels": sentinels,
    "cluster": cluster,
}
KINDS = [pytest.param("redis 7", marks=[pytest.mark.redis7, needs_redis7]), "sentinels", "cluster"]
pytestmark = pytest.mark.timeout(120)


def numbers(last: int) -> str:
    """Return what counting to `last` says."""
    return " ".join(str(number) for number in range(1, last + 1))


@pytest.mark.parametrize("kind", KINDS)
async def test_runs_of_many_slots_on_every_topology(
    own_stage: Any, arrive: Arrive, kind: str
) -> None:
    """Ask, queue, cancel, call, remember, question and answer, in conversations all over."""
    async with OPENERS[kind]() as servers:
        gateways = [await own_stage(redis_url=servers.url) for _ in range(2)]
        people = [await arrive(gateways[n % 2], f"person{n}") for n in range(9)]
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(live(person))


async def live(person: Person) -> None:
    """Do everything once in a conversation of one's own."""
    first, second = await person.ask("/count 20 5"), await person.ask("/remember name Ada")
    assert (await person.sees_end(first)).text == numbers(20)
    assert (await person.sees_end(second)).outcome == "success"
    cut = await person.ask("60000", agent="calling")
    await person.sees_type("TOOL_CALL_START")
    assert await person.cancel(cut) == "cancelled"
    asked = await person.ask("please", agent="asking")
    (question,) = (await person.sees_end(asked)).ends[0]["outcome"]["interrupts"]
    reply = await person.client.request(
        "respond_to_interrupt",
        conversation_id=person.conversation,
        run_id=asked,
        interrupt_id=question["id"],
        status="resolved",
        payload={"yes": True},
    )
    assert reply["winner"] is True
    await person.sees_type("RUN_FINISHED", count=5)
    urgent = [await person.ask("/count 999 1"), await person.ask("urgent", if_running="interrupt")]
    assert (await person.sees_end(urgent[1])).text == "urgent"
    context = await person.context()
    assert (context["memory"], context["active_run"]) == ({"name": "Ada"}, None)
    assert len(context["tool_calls"]) == 1
    assert len([m for m in await person.history() if m["role"] == "assistant"]) >= 6


@pytest.mark.parametrize("kind", ["sentinels", "cluster"])
async def test_failover_in_the_middle_of_a_run(own_stage: Any, arrive: Arrive, kind: str) -> None:
    """The master of the conversation dies: with `replicated`, the text is whole, and ends once."""
    async with OPENERS[kind]() as servers:
        gateway = await own_stage(
            redis_url=servers.url, redis_timeout_s=1, durability="replicated", run_lease_s=2
        )
        alice = await arrive(gateway)
        run_id = await alice.ask("/count 150 20")
        await alice.reads(run_id, " 20 ")
        master = await master_of(servers, alice.conversation)
        master.kill()

        async def promoted() -> bool:
            return await master_of(servers, alice.conversation) is not master

        await eventually(promoted, what="a new master", within_s=30)
        await master.start()  # the replica that `replicated` waits for
        run = await alice.follows_to_the_end(run_id, [gateway], within_s=60)
        assert (run.outcome, run.text) == ("success", numbers(150))
        assert [m["content"] for m in await alice.history()][1:] == [numbers(150)]


async def master_of(servers: Any, conversation: str) -> Any:
    """Return the node that serves a conversation."""
    if hasattr(servers, "master"):
        return await servers.master()
    for node in servers.nodes:
        if node.can_answer:
            for key in await node.call("KEYS", f"*:c:{conversation}"):
                return await servers.node_for_key(key)
    raise AssertionError(f"no node holds {conversation}")


@pytest.mark.redis7
@needs_redis7
async def test_two_megabytes_on_the_oldest_redis(own_stage: Any, arrive: Arrive) -> None:
    """Its Lua and its string appends take them as well."""
    async with standalone(binary=redis7()) as server:
        alice = await arrive(await own_stage(redis_url=server.url))
        run = await alice.sees_end(await alice.ask("a novel", agent="novel"), within_s=40)
        assert run.text == NOVEL
