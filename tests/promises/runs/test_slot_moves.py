"""Slots of a cluster move from server to server while their conversations are used."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.promises.runs.test_run_topologies import numbers
from tests.support.eventually import eventually, passing
from tests.support.redis_servers import cluster
from tests.support.slot_moves import SlotMove, slot_of
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.promises.runs.conftest import Arrive
    from tests.promises.runs.person import Person
    from tests.support.redis_servers import ClusterGroup

MOVES = 10
PEOPLE = 3
COUNT = 30  # numbers of a reply, some ms apart: a run is under way all the time
KEPT = "/count 4000 25"  # a run that goes on until it is cancelled


class Mover:
    """Moves slots, one after the other, a key at a time."""

    def __init__(self, group: ClusterGroup, slots: list[int]) -> None:
        self._group = group
        self._slots = slots
        self._random = random.Random(7)
        self.moved = 0

    async def move_all(self) -> None:
        """Move each several times."""
        while self.moved < MOVES:
            slot = self._slots[self.moved % len(self._slots)]
            move = await SlotMove.begin(self._group, slot)
            await passing(0.1)
            keys = await move.left()
            self._random.shuffle(keys)
            for key in keys:
                await move.carry(key)
                await passing(0.01)
            await move.finish()
            self.moved += 1
            await passing(0.1)


class Insistent:
    """Someone who makes each request again until it is done, as the protocol tells clients to.

    Attributes:
        person: whose requests.
        refusals: codes of all errors that came.
        done: how often each kind of request was answered.
    """

    def __init__(self, person: Person) -> None:
        self.person = person
        self.refusals: list[str] = []
        self.done: dict[str, int] = {}
        self._sent = 0

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Make a request in the conversation; return its answer."""
        fields = {"conversation_id": self.person.conversation} | fields

        async def answer() -> dict[str, Any] | None:
            try:
                return await self.person.client.request(kind, **fields)
            except RefusedRequest as refused:
                self.refusals.append(refused.error["code"])
                if not refused.error["retryable"]:
                    raise
                return None

        reply = await eventually(answer, what=f"{kind} is done", within_s=30)
        self.done[kind] = self.done.get(kind, 0) + 1
        return reply

    async def send(self, content: str, **fields: Any) -> dict[str, Any]:
        """Send a message."""
        self._sent += 1
        name = f"n{self._sent}"
        return await self.ask("send_message", client_message_id=name, content=content, **fields)

    async def remember(self) -> None:
        """Write one more thing into the context; only this person writes it."""
        version = (await self.ask("get_agent_context"))["version"]
        patch = [{"op": "add", "path": f"/memory/v{version}", "value": version}]
        reply = await self.ask("update_agent_context", base_version=version, patch=patch)
        assert reply["version"] == version + 1


async def live(someone: Insistent, is_over: Callable[[], bool]) -> list[str]:
    """Do everything there is to do until it is over; return the runs that are to be whole."""
    whole = []
    while not is_over():
        whole.append((await someone.send(f"/count {COUNT} 5"))["run_id"])
        kept = (await someone.send(KEPT))["run_id"]
        for _ in range(3):
            await someone.send("only said", agent=None)
            await someone.remember()
            await someone.ask("get_conversation")
            await someone.ask("get_conversation_history", limit=5)
        reply = await someone.ask("cancel_run", run_id=kept)
        assert reply["status"] == "cancelled"
        urgent = await someone.send(f"/count {COUNT} 5", if_running="interrupt")
        await someone.person.sees_end(urgent["run_id"], within_s=30)
    return whole


@pytest.mark.timeout(180)
async def test_slots_move_while_they_are_used(own_stage: Any, arrive: Arrive) -> None:
    """No request fails but to be made again; nothing is lost, doubled or left unanswered."""
    async with cluster() as group:
        gateways = [await own_stage(redis_url=group.url) for _ in range(2)]
        people = [await arrive(gateways[n % 2], f"person{n}") for n in range(PEOPLE)]
        crowd = [Insistent(person) for person in people]
        keys = []
        for someone in crowd:
            await someone.person.create()
            await someone.remember()
            keys += await keys_of(group, someone.person.conversation)
        asked = await crowd[0].send("please", agent="asking")
        await crowd[0].person.sees_end(asked["run_id"])  # a question is left open
        mover = Mover(group, sorted({await slot_of(group, key) for key in keys}))
        async with asyncio.TaskGroup() as tasks:
            moving = tasks.create_task(mover.move_all())
            lives = [tasks.create_task(live(someone, moving.done)) for someone in crowd]
        assert mover.moved == MOVES
        for someone, alive in zip(crowd, lives, strict=True):
            assert set(someone.refusals) <= {"unavailable", "timeout"}, someone.refusals
            await assert_whole(someone, alive.result())


async def assert_whole(someone: Insistent, whole: list[str]) -> None:
    """Check that what was asked for is there, once."""
    person, done = someone.person, someone.done
    history = await person.history()
    mine = [m["client_message_id"] for m in history if m["role"] == "user"]
    assert mine == [f"n{number}" for number in range(1, done["send_message"] + 1)]
    assert [m["seq"] for m in history] == list(range(1, len(history) + 1))
    replies = [m["run_id"] for m in history if m["role"] == "assistant"]
    assert len(replies) == len(set(replies))
    for run_id in whole:
        run = await person.sees_end(run_id)
        assert run.outcome == "cancelled" or run.text == numbers(COUNT)
    context = await person.context()
    assert context["version"] == done["update_agent_context"]
    assert set(context["memory"]) == {f"v{n}" for n in range(context["version"])}


async def keys_of(group: ClusterGroup, conversation: str) -> list[str]:
    """Return a key of a conversation."""
    for node in group.nodes[:3]:
        if keys := await node.call("KEYS", f"*:c:{conversation}"):
            return keys
    raise AssertionError(f"no server holds {conversation}")
