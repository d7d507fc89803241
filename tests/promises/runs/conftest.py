"""Where runs are tested: a Redis and gateways of their own, with a short lease and test agents.

`stage` has workers inside, for tests of what runs do. `bare` has none: a test starts its own
workers and may kill them. Both are shared by the tests of one process; tests keep apart by tenants.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.promises.runs import leaving, overdoing
from tests.promises.runs.agents import SETTING
from tests.promises.runs.misspeaking import SETTING as MISSPEAKING
from tests.promises.runs.person import Person
from tests.support.eventually import eventually_blocking
from tests.support.gateways import GatewayProcess
from tests.support.redis_servers import standalone
from tests.support.store_view import StoreView
from tests.support.workers import ServingProcess, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint, InProcessGateway
    from tests.support.redis_node import RedisNode

LEASE_S = 1.0
RUN_SETTINGS: dict[str, Any] = {
    "agents": ",".join((*SETTING, *MISSPEAKING, *leaving.SETTING, *overdoing.SETTING)),
    "default_agent": "demo",
    "run_lease_s": LEASE_S,
}
Gateways = tuple[GatewayProcess, GatewayProcess]


class OwnWorker(Protocol):
    """Starts a worker process that the test may kill, on the Redis of `bare`."""

    async def __call__(self, **settings: Any) -> WorkerProcess:
        """Start one, killed when the test ends."""
        ...


class Arrive(Protocol):
    """Brings a person to a gateway."""

    async def __call__(self, endpoint: Endpoint, subject: str = "alice", **options: Any) -> Person:
        """Dial and open a session; options of `WireClient.open`."""
        ...


@contextmanager
def serving(gateways: tuple[GatewayProcess, ...]) -> Iterator[None]:
    """Run gateways while the block runs."""
    try:
        for gateway in gateways:
            gateway.launch()
        for gateway in gateways:
            eventually_blocking(gateway._is_listening, what=f"a gateway on {gateway.port}")
        yield
    finally:
        for gateway in gateways:
            gateway.stop_blocking()


@contextmanager
def checked_redis() -> Iterator[RedisNode]:
    """Run a Redis; fail if at its end a key is left for ever without a reason."""
    with asyncio.Runner() as runner:
        server = standalone()
        node = runner.run(server.__aenter__())
        try:
            yield node
            left = runner.run(StoreView(node).undeclared())
        finally:
            runner.run(server.__aexit__(None, None, None))
    assert not left, "\n".join(left[:20])


@pytest.fixture(scope="session")
def stage_redis() -> Iterator[RedisNode]:
    """Yield the Redis of `stage`."""
    with checked_redis() as node:
        yield node


@pytest.fixture(scope="session")
def bare_redis() -> Iterator[RedisNode]:
    """Yield the Redis of `bare`."""
    with checked_redis() as node:
        yield node


@pytest.fixture(scope="session")
def stage(stage_redis: RedisNode, tmp_path_factory: Any) -> Iterator[Gateways]:
    """Yield two gateways with workers inside."""
    first, second = (
        GatewayProcess(
            tmp_path_factory.mktemp(f"stage{n}"), redis_url=stage_redis.url, **RUN_SETTINGS
        )
        for n in range(2)
    )
    with serving((first, second)):
        yield first, second


@pytest.fixture(scope="session")
def bare(bare_redis: RedisNode, tmp_path_factory: Any) -> Iterator[Gateways]:
    """Yield two gateways that execute no runs."""
    first, second = (
        ServingProcess(
            tmp_path_factory.mktemp(f"bare{n}"), redis_url=bare_redis.url, **RUN_SETTINGS
        )
        for n in range(2)
    )
    with serving((first, second)):
        yield first, second


@pytest.fixture
async def own_worker(bare_redis: RedisNode, tmp_path: Path) -> AsyncIterator[OwnWorker]:
    """Start worker processes, on the Redis of `bare` unless told otherwise."""
    made: list[WorkerProcess] = []

    async def start(**settings: Any) -> WorkerProcess:
        given = {"redis_url": bare_redis.url} | RUN_SETTINGS | settings
        worker = WorkerProcess(tmp_path / f"worker{len(made)}", **given)
        made.append(worker)
        await worker.start()
        return worker

    yield start
    for worker in made:
        await worker.dispose()


@pytest.fixture
async def durable_redis() -> AsyncIterator[RedisNode]:
    """Yield a Redis that forgets nothing it has answered, when it is killed.

    With `appendfsync everysec` it does if an fsync is under way: until that has ended, up to 2 s,
    what is to be appended waits in its own memory (flushAppendOnlyFile in aof.c).
    """
    async with standalone(options={"appendfsync": "always"}) as node:
        yield node


@pytest.fixture
async def own_stage(in_process: Any) -> Any:
    """Start gateways with workers in this process, with the settings of runs."""

    async def start(**settings: Any) -> InProcessGateway:
        agents = (*SETTING, *MISSPEAKING, *leaving.SETTING, *overdoing.SETTING)
        return await in_process(**(RUN_SETTINGS | {"agents": agents} | settings))

    return start


@pytest.fixture
def arrive(dial: Dialler) -> Arrive:
    """Bring people to gateways; at the end the server must not have gone against the protocol."""

    async def bring(endpoint: Endpoint, subject: str = "alice", **options: Any) -> Person:
        return await Person.at(dial, endpoint, subject, **options)

    return bring
