"""Agents' blocking tools fill the loop's threads: what keeps a promise does not wait for them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gateway.identity.jwks import KeySetSource
from gateway.store.embedded.data_folder import DataFolder
from gateway.store.redis.link import Address, Link
from gateway.threads import OwnThreads, addresses_of
from tests.support.embedded_servers import watched
from tests.support.eventually import eventually
from tests.support.key_server import key_pair, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.redis_node import RedisNode

MORE_THAN_THERE_ARE = 64


@contextmanager
def blocking_tools() -> Iterator[None]:
    """Keep every thread of the loop busy, as tools do that wait in `asyncio.to_thread`."""
    done = threading.Event()
    loop = asyncio.get_running_loop()
    for _ in range(MORE_THAN_THERE_ARE):
        loop.run_in_executor(None, done.wait)
    try:
        yield
    finally:
        done.set()


async def test_redis_is_found_by_its_name(redis_server: RedisNode) -> None:
    """Links are opened while tools block."""
    with blocking_tools():
        link = await Link.open(Address("localhost", redis_server.port), timeout_s=5)
        assert await link.call("PING") == b"PONG"
        link.close()


async def test_key_set_is_fetched() -> None:
    """The key server is found by its name, and asked."""
    async with serving(key_pair("p256", "one").jwk()) as server:
        source = KeySetSource(server.url.replace("127.0.0.1", "localhost"), timeout_s=5)
        with blocking_tools():
            assert b'"one"' in await source.fetch()


async def test_file_of_the_embedded_server_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each second, as promised."""
    synced: list[str] = []
    sync = DataFolder.sync

    def counted(folder: DataFolder) -> None:
        sync(folder)
        synced.append(threading.current_thread().name)

    monkeypatch.setattr(DataFolder, "sync", counted)
    async with watched(tmp_path):
        with blocking_tools():
            await eventually(lambda: len(synced) >= 2, what="it is synced")
    assert all(name.startswith("embedded-sync") for name in synced)


async def test_addresses_are_taken_as_they_are() -> None:
    """Nothing is looked up for them; a name that there is not is an OSError."""
    assert await addresses_of("::1") == ["::1"]
    assert await addresses_of("fe80::1%lo") == ["fe80::1%lo"]
    assert "127.0.0.1" in await addresses_of("localhost")
    with pytest.raises(OSError, match=r"known|resolution|address"):
        await addresses_of("no-such-host.invalid")


async def test_closed_threads_begin_nothing_more() -> None:
    """And are not waited for."""
    threads, begun, release = OwnThreads("some"), threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return release.wait()

    async with asyncio.TaskGroup() as group:
        working = group.create_task(threads.run(work))
        await eventually(begun.is_set, what="it has begun")
        threads.close()
        with pytest.raises(RuntimeError):
            await threads.run(work)
        release.set()
    assert working.result()
