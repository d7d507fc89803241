"""A store of each test's own on the shared Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.clock import Clock
from gateway.identity.caller import Caller
from tests.support.stores import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.store.store import Store
    from tests.support.redis_node import RedisNode


@pytest.fixture
def clock() -> Clock:
    """A clock that the test moves."""
    return Clock()


@pytest.fixture
async def gateway_store(redis_server: RedisNode, clock: Clock) -> AsyncIterator[Store]:
    """The store, on the shared Redis."""
    async with opened(redis_server.url, clock=clock) as store:
        yield store


@pytest.fixture
def alice(tenant: str) -> Caller:
    """Who makes the conversations."""
    return Caller(tenant, "alice")


@pytest.fixture
def bob(tenant: str) -> Caller:
    """Somebody else of the same tenant."""
    return Caller(tenant, "bob")
