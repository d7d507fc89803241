"""The data folder: private, reached by a path that fits, and refused with a word that helps."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gateway.errors import DataFolderInUse
from gateway.store.embedded import data_folder
from gateway.store.embedded import server as embedded
from gateway.store.embedded.data_folder import DataFolder
from gateway.store.embedded.server import EmbeddedServer
from tests.support.embedded_servers import call, ensured, new_pid, pid_of, watched
from tests.support.eventually import eventually


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


async def test_what_was_written_is_synced_once(tmp_path: Path) -> None:
    """A file that has not grown is left alone; one that was rewritten meanwhile is not missed."""
    async with ensured(tmp_path) as server:
        url, folder = await server.ensure(), DataFolder(tmp_path)
        for round_ in (1, 2):
            await call(url, "SET", "k", "v")
            assert folder.sync() == [f"appendonly.aof.{round_}.incr.aof"]
            assert folder.sync() == []
            await call(url, "BGREWRITEAOF")

            async def is_rewritten(name: str = f"appendonly.aof.{round_}.incr.aof") -> bool:
                return not (tmp_path / "appendonlydir" / name).exists()

            await eventually(is_rewritten, what="the file is rewritten")


async def test_watch_syncs_what_the_server_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a power failure loses no more than that."""
    synced: list[int] = []

    def sync(fd: int) -> None:
        os.fdatasync(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(data_folder, "_sync", sync)
    monkeypatch.setattr(embedded, "SYNC_S", 0.01)
    async with watched(tmp_path) as server:
        url = await server.ensure()
        await call(url, "SET", "k", "v" * 1000)
        await eventually(lambda: synced and synced[-1] > 1000, what="it is synced")


async def test_disk_that_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server goes on, the watch tries again."""
    tries: list[int] = []

    def refuse(fd: int) -> None:
        tries.append(fd)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(data_folder, "_sync", refuse)
    monkeypatch.setattr(embedded, "SYNC_S", 0.01)
    async with watched(tmp_path) as server:
        url = await server.ensure()
        await call(url, "SET", "k", "v")
        await eventually(lambda: len(tries) > 1, what="it is tried again")
        assert await call(url, "GET", "k") == "v"
    assert "embedded_server_sync_failed" in capsys.readouterr().out


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
from gateway.store.embedded.server import EmbeddedServer

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
