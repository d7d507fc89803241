"""Runs of one person, or of one tenant, do not keep those of others from starting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gateway.identity.caller import Caller
from gateway.store.runs import RunRequest
from gateway.tasks import together
from tests.promises.runs.conftest import RUN_SETTINGS, serving
from tests.support import own_agents
from tests.support.eventually import eventually
from tests.support.redis_servers import cluster
from tests.support.stores import draft, opened
from tests.support.workers import ServingProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from gateway.agents import RunContext
    from gateway.store.store import Store
    from tests.conftest import OwnRedis
    from tests.promises.runs.conftest import Arrive, OwnWorker
    from tests.promises.runs.person import Person
    from tests.support.redis_node import RedisNode

OWN = "own=tests.support.own_agents:agent"
HOGS_RUNS = 10_000
AT_ONCE = 500


class Watched:
    """An agent that notes whose runs begin, and holds each until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[str] = []
        self._turns = asyncio.Semaphore(0)
        monkeypatch.setattr(own_agents, "agent", self._speak)

    def let_go(self, count: int = 1) -> None:
        """Let so many runs end."""
        for _ in range(count):
            self._turns.release()

    async def have_begun(self, count: int) -> None:
        """Wait until so many runs began."""
        await eventually(lambda: len(self.began) >= count, what=f"{count} runs", within_s=30)

    async def _speak(self, context: RunContext) -> AsyncIterator[str]:
        self.began.append(f"{context.tenant}:{context.subject}")
        yield "begun"
        await self._turns.acquire()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The agent `own`."""
    return Watched(monkeypatch)


async def fill(store: Store, tenant: str, subjects: Iterable[str], count: int) -> None:
    """Have so many runs wait, each in a conversation of its own, of the subjects in turn."""
    callers = [Caller(tenant, subject) for subject in subjects]

    async def ask(number: int) -> None:
        run = RunRequest(f"r_{tenant}_{number}", "own", f"m_reply_{number}")
        message = draft(f"c_{tenant}_{number}", "1", may_create=True)
        caller = callers[number % len(callers)]
        await store.messages.send(caller, replace(message, run=run))

    for first in range(0, count, AT_ONCE):
        await together(ask(number) for number in range(first, min(count, first + AT_ONCE)))


async def hears(redis: RedisNode) -> None:
    """Wait until the worker hears of runs that become ready; else it finds them with its sweep."""

    async def is_subscribed() -> bool:
        _, count = await redis.call("PUBSUB", "NUMSUB", "gw:wake")
        return bool(count)

    await eventually(is_subscribed, what="the worker hears")


async def test_long_runs_of_one_subject_leave_slots_to_others(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """As many as there are slots, which never end: another of the same tenant has his answer."""
    gateway = await own_stage(redis_url=(await own_redis()).url, worker_concurrency=20)
    mallory, bob = await arrive(gateway, "mallory"), await arrive(gateway, "bob")
    for number in range(30):
        mallory.conversation = ""
        await mallory.ask(str(number), agent="silent")
    assert (await bob.sees_end(await bob.ask("quick"))).text == "quick"


async def test_long_runs_of_one_tenant_leave_slots_to_others(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive
) -> None:
    """Of however many of its subjects."""
    gateway = await own_stage(redis_url=(await own_redis()).url, worker_concurrency=20)
    for number in range(30):
        mallory = await arrive(gateway, f"mallory{number}", tenant="hostile")
        await mallory.ask("x", agent="silent")
    bob = await arrive(gateway, "bob")
    assert (await bob.sees_end(await bob.ask("quick"))).text == "quick"


async def test_first_run_of_a_tenant_waits_for_one_slot_at_most(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive, watched: Watched
) -> None:
    """Another has 10,000 in all shards, and the only slot: the next one that is free is not its."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await fill(store, "hog", [f"h{n}" for n in range(10)], HOGS_RUNS)
    gateway = await own_stage(redis_url=redis.url, worker_concurrency=1, agents=(OWN,))
    await hears(redis)
    await watched.have_begun(1)
    people = [await arrive(gateway, "bob", tenant=tenant) for tenant in ("small", "tiny")]
    runs = [await person.ask("hello", agent="own") for person in people]
    for count in range(2, 5):
        watched.let_go()
        await watched.have_begun(count)
    assert sorted(watched.began[1:3]) == ["small:bob", "tiny:bob"]
    assert watched.began[3].startswith("hog:")
    watched.let_go(3)
    for person, run_id in zip(people, runs, strict=True):
        assert (await person.sees_end(run_id)).outcome == "success"


async def test_first_run_of_a_subject_waits_for_one_slot_at_most(
    own_redis: OwnRedis, own_stage: Any, arrive: Arrive, watched: Watched
) -> None:
    """The same between subjects of one tenant."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        await fill(store, "shared", ["hog"], 1000)
    gateway = await own_stage(redis_url=redis.url, worker_concurrency=1, agents=(OWN,))
    await hears(redis)
    await watched.have_begun(1)
    people = [await arrive(gateway, name, tenant="shared") for name in ("ann", "zoe")]
    for person in people:
        await person.ask("hello", agent="own")
    for count in range(2, 5):
        watched.let_go()
        await watched.have_begun(count)
    assert sorted(watched.began[1:3]) == ["shared:ann", "shared:zoe"]
    assert watched.began[3] == "shared:hog"
    watched.let_go(2)


async def test_all_slots_serve_one_tenant_after_the_other_has_its_share(
    own_redis: OwnRedis, own_stage: Any, watched: Watched
) -> None:
    """Three tenants that all want more have as much each, whoever came first."""
    redis = await own_redis()
    async with opened(redis.url) as store:
        for tenant, count in (("a", 300), ("b", 40), ("c", 20)):
            await fill(store, tenant, [f"s{n}" for n in range(5)], count)
    await own_stage(redis_url=redis.url, worker_concurrency=10, agents=(OWN,))
    await watched.have_begun(9)
    counted = [one.partition(":")[0] for one in watched.began]
    assert {tenant: counted.count(tenant) for tenant in "abc"} == {"a": 3, "b": 3, "c": 3}
    watched.let_go(12)
    await watched.have_begun(21)
    counted = [one.partition(":")[0] for one in watched.began]
    assert all(6 <= counted.count(tenant) <= 8 for tenant in "abc"), counted
    watched.let_go(400)
    await watched.have_begun(360)


async def quick(person: Person) -> str:
    """Ask, and return the reply; a subscription at the server that is away is found deaf first."""
    return (await person.sees_end(await person.ask("quick"), within_s=50)).text


@pytest.mark.timeout(180)
async def test_shards_whose_server_is_away_hold_up_no_others(
    own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """The worker's calls to them take a minute; runs of the others begin meanwhile."""
    async with cluster(options={"cluster-require-full-coverage": "no"}) as servers:
        await own_worker(redis_url=servers.url, redis_timeout_s=60, redis_reconnect_s=60)
        gateway = ServingProcess(tmp_path / "gateway", redis_url=servers.url, **RUN_SETTINGS)
        with serving((gateway,)):
            people = [await arrive(gateway, f"person{n}") for n in range(9)]
            for person in people:
                await person.create()
            homes = [await home(servers, person) for person in people]
            away = homes[0]
            others = [one for one, at in zip(people, homes, strict=True) if at is not away]
            assert others
            stopped = [node for node in servers.nodes if node is away or await follows(node, away)]
            try:
                for node in stopped:
                    node.pause()
                for _ in range(2):
                    assert await asyncio.gather(*map(quick, others)) == ["quick"] * len(others)
            finally:
                for node in stopped:
                    node.resume()


async def test_shards_whose_server_is_away_hide_no_run_without_a_worker(
    arrive: Arrive, tmp_path: Path
) -> None:
    """Runs of the others, which nobody takes, end in time all the same."""
    async with cluster(options={"cluster-require-full-coverage": "no"}) as servers:
        settings = RUN_SETTINGS | {"redis_timeout_s": 1, "run_claim_s": 3}
        gateway = ServingProcess(tmp_path / "gateway", redis_url=servers.url, **settings)
        with serving((gateway,)):
            people = [await arrive(gateway, f"person{n}") for n in range(12)]
            for person in people:
                await person.create()
            homes = [await home(servers, person) for person in people]
            knows_agents = await servers.node_for_key("gw:agents")
            away = next(node for node in homes if node is not knows_agents)
            other = next(one for one, at in zip(people, homes, strict=True) if at is not away)
            stopped = [node for node in servers.nodes if node is away or await follows(node, away)]
            try:
                for node in stopped:
                    node.pause()
                run = await other.sees_end(await other.ask("x"), within_s=30)
                assert run.ends[0]["code"] == "no_agent"
                assert "run_watch_failed" in gateway.logs
            finally:
                for node in stopped:
                    node.resume()


async def home(servers: Any, person: Person) -> RedisNode:
    """Return the master that has a person's conversation."""
    for node in servers.nodes:
        for key in await node.call("KEYS", f"*:c:{person.conversation}"):
            return await servers.node_for_key(key)
    raise AssertionError(person.conversation)


async def follows(node: RedisNode, master: RedisNode) -> bool:
    """Whether a node is a replica of a master."""
    return (await node.info("replication")).get("master_port") == str(master.port)


async def test_run_that_an_earlier_gateway_made_ready_is_carried_out(
    own_redis: OwnRedis, own_worker: OwnWorker, arrive: Arrive, tmp_path: Path
) -> None:
    """It is in that version's list, without a subject: a worker of this version takes it."""
    redis = await own_redis()
    gateway = ServingProcess(tmp_path / "gateway", redis_url=redis.url, **RUN_SETTINGS)
    with serving((gateway,)):
        alice = await arrive(gateway)
        run_id = await alice.ask("hello")
        (run,) = await redis.call("KEYS", f"*:run:{run_id}")
        (line,) = await redis.call("KEYS", "*:runs:line")
        await redis.call("HDEL", run, "by", "since")
        await redis.call("DEL", line, line.replace(":line", ":open"))
        name = f"{alice.client.hello['tenant']}:{alice.conversation}:{run_id}"
        await redis.call("RPUSH", line.replace(":line", ":ready"), name)
        await own_worker(redis_url=redis.url)
        assert (await alice.sees_end(run_id)).text == "hello"
