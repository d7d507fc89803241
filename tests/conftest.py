"""Real servers for the tests, shared where isolation permits.

One Redis and two gateway processes serve a whole run (of one xdist worker); tests keep apart by
tenants of their own. What a test kills, starves or configures otherwise is its own.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Protocol

import hypothesis
import pytest
import structlog

from tests.support.dialling import Dialler
from tests.support.gateways import GENEROUS, GatewayProcess, InProcessGateway
from tests.support.redis_servers import standalone
from tests.support.store_view import StoreView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.redis_node import RedisNode

# No example is too slow: how fast the machine is, is not what is tested.
hypothesis.settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")

Replicas = tuple[GatewayProcess, GatewayProcess]
Store = StoreView


class InProcess(Protocol):
    """Starts a gateway in this process, with settings of its own."""

    async def __call__(self, **settings: Any) -> InProcessGateway:
        """Start one, stopped when the test ends."""
        ...


class OwnGateway(Protocol):
    """Starts a gateway process that the test may kill."""

    async def __call__(self, **settings: Any) -> GatewayProcess:
        """Start one, stopped when the test ends."""
        ...


class OwnRedis(Protocol):
    """Starts a Redis that the test may kill, with options of the server."""

    async def __call__(self, **options: str) -> RedisNode:
        """Start one, stopped when the test ends."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the gateways of a run be served by another class of WebSockets."""
    parser.addoption(
        "--transport", choices=["fast", "uvicorn"], help="GATEWAY_TRANSPORT of all gateways"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell those that start gateways."""
    transport = config.getoption("--transport")
    if transport is not None:
        GENEROUS["transport"] = transport


@pytest.fixture(autouse=True)
def plain_tracebacks() -> None:
    """Log tracebacks as text, before each test anew: some configure logging and then reset it.

    By default structlog takes rich, if that is installed, which prints every local variable:
    seconds in the event loop that is being tested.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    )


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisNode]:
    """Yield the Redis of the run; fail if at its end a key is left for ever without a reason."""
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
def replicas(redis_server: RedisNode, tmp_path_factory: Any) -> Iterator[Replicas]:
    """Yield two gateways on one Redis, with limits that tests of something else do not meet."""
    made = [
        GatewayProcess(tmp_path_factory.mktemp(f"replica{n}"), redis_url=redis_server.url)
        for n in range(2)
    ]
    try:
        for gateway in made:
            gateway.start_blocking()
        yield made[0], made[1]
    finally:
        for gateway in made:
            gateway.stop_blocking()


@pytest.fixture
def store(redis_server: RedisNode) -> StoreView:
    """The keys of the shared Redis."""
    return StoreView(redis_server)


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return f"t-{uuid.uuid4().hex[:16]}"


@pytest.fixture
async def dial(tenant: str) -> AsyncIterator[Dialler]:
    """Open clients; at the end close them and fail if the server went against the protocol."""
    dialler = Dialler(tenant)
    yield dialler
    await dialler.hang_up()


@pytest.fixture
async def in_process(redis_server: RedisNode, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start gateways in this process, on the shared Redis unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> InProcessGateway:
            settings.setdefault("redis_url", redis_server.url)
            return await stack.enter_async_context(
                InProcessGateway(data_dir=str(tmp_path), **settings)
            )

        yield start


@pytest.fixture
async def own_gateway(redis_server: RedisNode, tmp_path: Path) -> AsyncIterator[OwnGateway]:
    """Start gateway processes of the test's own, on the shared Redis unless told otherwise."""
    made: list[GatewayProcess] = []

    async def start(**settings: Any) -> GatewayProcess:
        settings.setdefault("redis_url", redis_server.url)
        gateway = GatewayProcess(tmp_path / f"gateway{len(made)}", **settings)
        made.append(gateway)
        await gateway.start()
        return gateway

    yield start
    for gateway in made:
        await gateway.dispose()


@pytest.fixture
async def own_redis() -> AsyncIterator[OwnRedis]:
    """Start Redis servers of the test's own."""
    async with AsyncExitStack() as stack:

        async def start(**options: str) -> RedisNode:
            return await stack.enter_async_context(standalone(options=options))

        yield start
