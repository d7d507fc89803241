"""Random faults over many runs: each accepted run ends once, and every promise about it holds.

The seed is part of a test's name; a failure is looked into with the same seed.
"""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidHandshake

from tests.promises.runs.agents import NAMES
from tests.promises.runs.conftest import RUN_SETTINGS
from tests.promises.runs.person import Person
from tests.promises.runs.run_log import told
from tests.support.eventually import eventually, passing
from tests.support.proxy import Proxy
from tests.support.store_view import StoreView
from tests.support.wire import RefusedRequest, SocketEnded
from tests.support.workers import ServingProcess, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.promises.runs.run_log import ToldRun
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode
    from tests.support.wire import WireClient

PEOPLE = 8
ALL_OVER_S = 60.0
REQUESTS = [
    ("one two three four five six", "demo"),
    ("/count 25 10", "demo"),
    ("/count 400 1", "demo"),
    ('/tool weather {"a": 1}', "demo"),
    ("/workflow 4 30", "demo"),
    ("/remember name Ada", "demo"),
    ("/approve May I?", "demo"),
    ("/fail", "demo"),
    ("15 15", "restarting"),
    ("15 15", "failing"),
    ("8 20", "stepping"),
    ("8 10", "noting"),
    ("120", "calling"),
    ("at once", "whole"),
    ("x", "silent"),
    ("x", "untidy"),
]
FOR_EVER = {"silent", "untidy"}


class Accepted:
    """What a message started: its person's conversation, and its run."""

    def __init__(self, run_id: str, content: str, agent: str) -> None:
        self.run_id = run_id
        self.content = content
        self.agent = agent


class Talker:
    """A person who sends at random, cancels at random, drops out at random, whatever happens."""

    def __init__(self, dial: Dialler, gateways: list[ServingProcess], seed: int, name: str) -> None:
        self.person: Person | None = None
        self.accepted: list[Accepted] = []
        self._dial = dial
        self._gateways = gateways
        self._random = random.Random(f"{seed} {name}")
        self._name = name

    async def talk(self, messages: int) -> None:
        """Send so many messages, with faults of the client's own in between."""
        self.person = await Person.at(self._dial, self._gateways[0], self._name)
        await self._do("create_conversation", conversation_id=f"c_{self._name}")
        self.person.conversation = f"c_{self._name}"
        for number in range(messages):
            await self._send(number)
            await passing(self._random.uniform(0, 0.15))
            chance = self._random.random()
            if chance < 0.35:
                await self._cancel(self._random.choice(self.accepted[-3:]))
            elif chance < 0.45:
                await self.person.client.vanish()

    async def finish(self) -> None:
        """Cancel what would last for ever; wait until every run has ended."""
        for accepted in self.accepted:
            if accepted.agent in FOR_EVER:
                await self._cancel(accepted)
        await eventually(self._all_ended, what=f"all runs of {self._name}", within_s=ALL_OVER_S)

    async def _all_ended(self) -> bool:
        client = await self._connected()
        if client is None:
            return False
        runs = told(self.person.log)
        return all(one.run_id in runs and runs[one.run_id].ends for one in self.accepted)

    async def _send(self, number: int) -> None:
        content, agent = self._random.choice(REQUESTS)
        reply = await self._do(
            "send_message",
            conversation_id=f"c_{self._name}",
            client_message_id=f"m{number}",
            content=content,
            agent=agent,
            if_running=self._random.choice(["enqueue", "enqueue", "interrupt"]),
        )
        self.accepted.append(Accepted(reply["run_id"], content, agent))

    async def _cancel(self, accepted: Accepted) -> None:
        reply = await self._do(
            "cancel_run", conversation_id=f"c_{self._name}", run_id=accepted.run_id
        )
        assert reply["status"] in {"cancelled", "success", "interrupt", "failed"}

    async def _do(self, kind: str, **fields: object) -> dict[str, Any]:
        """Ask until it is answered, over as many sockets as it takes."""
        return await eventually(
            lambda: self._try(kind, fields), what=f"{kind} of {self._name}", within_s=ALL_OVER_S
        )

    async def _try(self, kind: str, fields: dict[str, object]) -> dict[str, Any] | None:
        client = await self._connected()
        if client is None:
            return None
        try:
            return await client.request(kind, **fields)
        except RefusedRequest as refused:
            assert refused.error["retryable"], refused.error
        except SocketEnded:
            pass
        return None

    async def _connected(self) -> WireClient | None:
        person = self.person
        if person.client.is_open and person.client.disconnect is None:
            return person.client
        try:
            await person.resumes(self._random.choice(self._gateways))
        except (SocketEnded, RefusedRequest, OSError, InvalidHandshake):
            return None
        return person.client


@dataclass(frozen=True)
class Scene:
    """The servers that people talk through, and the links between workers and Redis."""

    redis: RedisNode
    gateways: list[ServingProcess]
    workers: list[WorkerProcess]
    links: list[Proxy]


class Mischief:
    """Kills, stops and pauses workers, breaks their links, kills Redis, until cancelled."""

    def __init__(self, seed: int, here: Scene) -> None:
        self._random = random.Random(f"{seed} mischief")
        self._workers = here.workers
        self._links = here.links
        self._redis = here.redis
        self.done: list[str] = []

    async def reign(self) -> None:
        """Do one thing after the other."""
        kinds = [self._kill, self._terminate, self._pause, self._kill_redis]
        kinds += [self._lose_replies, self._lose_replies, self._cut_link]
        while True:
            await passing(self._random.uniform(0, 0.4))
            fault = self._random.choice(kinds)
            self.done.append(fault.__name__)
            await fault(self._random.choice(self._workers))

    async def mend(self) -> None:
        """Bring back to life what the last fault left dead."""
        if not self._redis.is_running:
            await self._redis.start()
        for link in self._links:
            link.heal()
        for worker in self._workers:
            worker.signal(signal.SIGCONT)
            if not worker.is_running:
                await worker.start()

    async def _lose_replies(self, worker: WorkerProcess) -> None:
        """What was asked is done, and the worker does not hear of it."""
        link = self._links[self._workers.index(worker)]
        link.swallow_replies()
        await passing(self._random.uniform(0, 0.2))
        await link.cut()
        link.heal()

    async def _cut_link(self, worker: WorkerProcess) -> None:
        await self._links[self._workers.index(worker)].cut()

    async def _kill(self, worker: WorkerProcess) -> None:
        await worker.kill()
        await worker.start()

    async def _terminate(self, worker: WorkerProcess) -> None:
        assert await worker.terminate() == 0
        await worker.start()

    async def _pause(self, worker: WorkerProcess) -> None:
        worker.signal(signal.SIGSTOP)
        try:
            await passing(self._random.uniform(0.1, 2.0))
        finally:
            worker.signal(signal.SIGCONT)

    async def _kill_redis(self, worker: WorkerProcess) -> None:
        del worker
        self._redis.kill()
        try:
            await passing(self._random.uniform(0, 1.0))
        finally:
            await self._redis.start()


async def assert_promises_kept(talker: Talker, endpoint: ServingProcess, dial: Dialler) -> None:
    """Hold a conversation's whole log, read anew, against the promises; and the history."""
    fresh = await Person.at(dial, endpoint, talker._name)
    conversation = talker.person.conversation
    first = talker.person.log.epoch
    await fresh.join(conversation, cursor={"epoch": first, "offset": 0})
    runs = told(fresh.log)  # raises if a promise is broken
    history = await fresh.history()
    accepted = {one.run_id: one for one in talker.accepted}
    assert runs.keys() == accepted.keys()
    assert [frame["offset"] for frame in fresh.log.events] == list(range(1, fresh.log.offset + 1))
    users = [message["client_message_id"] for message in history if message["role"] == "user"]
    assert users == [f"m{n}" for n in range(len(talker.accepted))]
    for run in runs.values():
        assert len(run.ends) == 1
        assert_said_right(accepted[run.run_id], run)
    context = await fresh.context()
    assert context["active_run"] is None
    assert [e["event"]["version"] for e in fresh.log.of_type("CONTEXT_UPDATED")] == list(
        range(1, context["version"] + 1)
    )


def assert_said_right(accepted: Accepted, run: ToldRun) -> None:
    """Check that a run said what it should, or, cut, the beginning of it."""
    match accepted.content.split():
        case ["/count", last, _]:
            whole = " ".join(str(n) for n in range(1, int(last) + 1))
        case [last, _] if accepted.agent in {"restarting", "failing"}:
            whole = " ".join(str(n) for n in range(1, int(last) + 1))
        case ["one", *_]:
            whole = accepted.content
        case ["120"]:
            whole = "I ask. It answered."
        case _:
            return
    assert whole.startswith(run.text), (accepted.content, run.text)
    if run.outcome == "success":
        assert run.text == whole


@asynccontextmanager
async def scene(redis: RedisNode, folder: Path) -> AsyncIterator[Scene]:
    """Run two gateways, and two workers behind links that can be broken."""
    common = {"redis_timeout_s": 1, **RUN_SETTINGS}
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(Proxy(redis.port)) for _ in range(2)]
        gateways = [
            ServingProcess(folder / f"gateway{n}", redis_url=redis.url, **common) for n in range(2)
        ]
        workers = [
            WorkerProcess(
                folder / f"worker{n}", redis_url=f"redis://127.0.0.1:{link.port}", **common
            )
            for n, link in enumerate(links)
        ]
        for process in (*gateways, *workers):
            stack.push_async_callback(process.dispose)
        await asyncio.gather(*(process.start() for process in (*gateways, *workers)))
        yield Scene(redis, gateways, workers, links)


async def live_through(
    dial: Dialler, redis: RedisNode, folder: Path, seed: int, *, messages: int
) -> int:
    """Let people talk under faults; hold everything against the promises; return the runs."""
    async with scene(redis, folder) as here:
        mischief = Mischief(seed, here)
        talkers = [Talker(dial, here.gateways, seed, f"p{n}") for n in range(PEOPLE)]
        await talk_under(mischief, talkers, messages)
        await mischief.mend()
        await asyncio.gather(*(talker.finish() for talker in talkers))
        for talker in talkers:
            await assert_promises_kept(talker, here.gateways[0], dial)
    assert mischief.done, "nothing went wrong"
    assert not await StoreView(redis).undeclared()
    assert await leftovers(redis) == []
    return sum(len(talker.accepted) for talker in talkers)


async def talk_under(mischief: Mischief, talkers: list[Talker], messages: int) -> None:
    """Let all talk at once; the mischief ends with the talking."""
    reigning = asyncio.create_task(mischief.reign())
    try:
        await asyncio.gather(*(talker.talk(messages) for talker in talkers))
    finally:
        reigning.cancel()
        await asyncio.gather(reigning, return_exceptions=True)


async def leftovers(redis: RedisNode) -> list[str]:
    """Return keys that only a run that goes on, or waits, has a use for."""
    patterns = ("*:run:*:text", "*:run:*:tools", "*:run:*:journal", "*:waiting", "*:runs:*")
    return [key for pattern in patterns for key in await redis.call("KEYS", pattern)]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(150)
async def test_each_of_some_hundred_runs_ends_exactly_once(
    durable_redis: RedisNode, dial: Dialler, tmp_path: Path, seed: int
) -> None:
    """Cancels, drops, and deaths of workers and Redis at random; the short form."""
    runs = await live_through(dial, durable_redis, tmp_path, seed, messages=60)
    assert runs == PEOPLE * 60


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
@pytest.mark.timeout(600)
async def test_each_of_very_many_runs_ends_exactly_once(
    durable_redis: RedisNode, dial: Dialler, tmp_path: Path, seed: int
) -> None:
    """The same for minutes."""
    await live_through(dial, durable_redis, tmp_path, seed, messages=120)


def test_requests_name_agents_that_exist() -> None:
    """Else every message would be refused."""
    assert {agent for _, agent in REQUESTS} <= {*NAMES, "demo"}
