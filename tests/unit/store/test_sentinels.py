"""Which master is believed when sentinels differ: that of the newest failover that any knows of."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import hiredis
import pytest

from gateway.store.redis.address import parse_redis_url
from gateway.store.redis.client import Redis
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from types import TracebackType

    from tests.conftest import OwnRedis
    from tests.support.redis_node import RedisNode

SERVICE = "gateway"


class ScriptedSentinel:
    """A sentinel that says what the test says. An asynchronous context manager."""

    def __init__(self, master: RedisNode, term: int) -> None:
        self.master = master
        self.term = term

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = hiredis.Reader(encoding="utf-8")
        while data := await reader.read(65_536):
            parser.feed(data)
            while (command := parser.gets()) is not False:
                writer.write(self._answer(command))
        writer.close()

    def _answer(self, command: list[str]) -> bytes:
        match command[:2]:
            case ["SENTINEL", "MASTER"]:
                return _array("name", SERVICE, "config-epoch", str(self.term))
            case ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]:
                return _array("127.0.0.1", str(self.master.port))
            case _:
                return b"+PONG\r\n"


def _array(*words: str) -> bytes:
    body = b"".join(b"$%d\r\n%b\r\n" % (len(word), word.encode()) for word in words)
    return b"*%d\r\n%b" % (len(words), body)


class Watched:
    """Calls through sentinels, with the watch of the process that makes them."""

    def __init__(self, sentinels: list[ScriptedSentinel]) -> None:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in sentinels)
        url = parse_redis_url(f"redis+sentinel://{hosts}/{SERVICE}")
        self.redis = Redis(url, timeout_s=5, reconnect_s=5)

    async def writes_to(self) -> int:
        """Write, and return the port of the server that took it."""
        await self.redis.execute("k", "SET", "k", "1")
        open_ports = (link.address.port for link in self.redis._links.values() if link.is_open)
        return next(open_ports, 0)  # 0: it was closed right after it answered


@pytest.fixture
async def stack() -> AsyncExitStack:
    """What ends with the test."""
    async with AsyncExitStack() as entered:
        yield entered


async def test_a_master_that_was_replaced_is_left_although_it_takes_writes(
    own_redis: OwnRedis, stack: AsyncExitStack
) -> None:
    """Until sentinels have told it, which takes them ten seconds, all that it takes is lost."""
    old, new = await own_redis(), await own_redis()
    told = await stack.enter_async_context(ScriptedSentinel(old, 1))
    other = await stack.enter_async_context(ScriptedSentinel(old, 1))
    watched = Watched([told, other])
    stack.callback(watched.redis.close)
    watching = asyncio.create_task(watched.redis.watch())
    stack.callback(watching.cancel)
    assert await watched.writes_to() == old.port
    told.master, told.term = new, 2

    async def has_left() -> bool:
        return await watched.writes_to() == new.port

    await eventually(has_left, what="writes go to the new master")


async def test_a_sentinel_that_was_cut_off_is_not_believed(
    own_redis: OwnRedis, stack: AsyncExitStack
) -> None:
    """It names the master of an older failover."""
    old, new = await own_redis(), await own_redis()
    late = await stack.enter_async_context(ScriptedSentinel(old, 1))
    knowing = await stack.enter_async_context(ScriptedSentinel(new, 2))
    watched = Watched([knowing, late])
    stack.callback(watched.redis.close)
    assert await watched.writes_to() == new.port
    watched.redis._topology.moved(None)
    watched.redis._topology._sentinels.reverse()
    watched.redis._leave()
    assert await watched.writes_to() == new.port
    assert not await watched.redis._topology.has_moved()


async def test_sentinels_that_were_set_up_anew_are_believed(
    own_redis: OwnRedis, stack: AsyncExitStack
) -> None:
    """They count from the beginning: nobody knows a newer master, so theirs is the one."""
    first, second = await own_redis(), await own_redis()
    sentinel = await stack.enter_async_context(ScriptedSentinel(first, 7))
    watched = Watched([sentinel])
    stack.callback(watched.redis.close)
    assert await watched.writes_to() == first.port
    sentinel.master, sentinel.term = second, 0
    watched.redis._leave()
    assert await watched.writes_to() == second.port
