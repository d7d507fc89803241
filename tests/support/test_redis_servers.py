"""The servers that other tests rely on do what they say, and leave nothing behind."""

from __future__ import annotations

import contextlib

import hiredis
import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.redis_servers import cluster, redis7, sentinels, standalone


async def test_standalone_keeps_its_data_when_killed_and_restarted() -> None:
    """SIGKILL, then the same address serves the same data; its files go with the context."""
    async with standalone() as server:
        await server.call("SET", "k", "v")
        server.kill()
        assert not server.is_running
        await server.restart()
        assert await server.call("GET", "k") == "v"
        await server.stop()
        assert not server.is_running
    assert not server.log_path.exists()


async def test_paused_standalone_answers_only_when_resumed() -> None:
    """A paused server accepts connections and says nothing."""
    async with standalone() as server:
        server.pause()
        with pytest.raises(TimeoutError):
            await server.call("PING")
        server.resume()
        assert await server.call("PING") == "PONG"


async def test_failing_test_leaves_no_server_behind() -> None:
    """Not even a paused one."""
    pids = []

    async def fail() -> None:
        async with standalone() as server:
            pids.append(server.pid)
            server.pause()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not psutil.pid_exists(pids[0])


async def test_bad_option_fails_with_what_the_server_said() -> None:
    """A server that ends at its start is not waited for."""
    with pytest.raises(AssertionError, match="no-such-option"):
        await standalone(options={"no-such-option": "1"}).__aenter__()


@pytest.mark.redis7
@pytest.mark.skipif(redis7() is None, reason="no redis-server on PATH")
async def test_server_on_path_can_be_asked_for() -> None:
    """The oldest kind we support runs under the same options."""
    async with standalone(binary=redis7()) as server:
        assert (await server.info("server"))["executable"].endswith("redis-server")


async def test_sentinels_replace_a_killed_master() -> None:
    """The replica is promoted, has what the master answered, and is what the sentinels tell."""
    async with sentinels() as group:
        assert group.url.startswith("redis+sentinel://127.0.0.1:")
        old = await group.master()
        await old.call("SET", "k", "v")
        assert await old.call("WAIT", 1, 5000) == 1
        old.kill()
        new = next(node for node in group.nodes if node is not old)

        async def is_promoted() -> bool:
            with contextlib.suppress(OSError):  # a sentinel cuts the clients of who it promotes
                role = (await new.info("replication"))["role"]
                return role == "master" and await group.master() is new
            return False

        await eventually(is_promoted, what="the replica is the master", within_s=30)
        assert await new.call("GET", "k") == "v"


async def test_cluster_promotes_the_replica_of_a_killed_master() -> None:
    """Each master serves its own slots, and its replica serves them after it."""
    async with cluster() as group:
        assert group.url.count(",") == 5
        old = await group.node_for_key("{s00}:log")
        await old.call("SET", "{s00}:log", "v")
        assert await old.call("WAIT", 1, 5000) == 1
        elsewhere = next(node for node in group.nodes if node is not old)
        with pytest.raises(hiredis.ReplyError, match="MOVED"):
            await elsewhere.call("GET", "{s00}:log")
        old.kill()

        async def is_replaced() -> bool:
            return await group.node_for_key("{s00}:log") is not old

        await eventually(is_replaced, what="a replica is promoted", within_s=30)
        new = await group.node_for_key("{s00}:log")
        assert await new.call("GET", "{s00}:log") == "v"
