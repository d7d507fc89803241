"""Keys fetched from a test's own server, with the task that fetches them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.clock import Clock
from gateway.errors import InvalidToken
from gateway.identity.jwks import FetchTimes, JwksKeys
from gateway.identity.keys import PUBLIC_KEY_ALGORITHMS, KeysUnavailable
from tests.support.key_server import key_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.key_server import KeyServer

ONE, TWO = key_pair("p256", "one"), key_pair("p256", "two")


@asynccontextmanager
async def fetching(
    server: KeyServer, *, clock: Clock | None = None, **times: float
) -> AsyncIterator[JwksKeys]:
    """The keys of this server, with their task running."""
    keys = JwksKeys(
        server.url, PUBLIC_KEY_ALGORITHMS, clock=clock or Clock(), times=FetchTimes(**times)
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(keys.run(), name="key set")
        yield keys
        task.cancel()


async def refused(keys: JwksKeys, key_id: str | None) -> Exception:
    """What asking for this key raises."""
    with pytest.raises((InvalidToken, KeysUnavailable)) as caught:
        await keys.keys_for(key_id)
    return caught.value
