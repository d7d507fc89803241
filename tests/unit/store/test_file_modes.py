"""Only this user reads what a data folder holds, whoever made it, and when."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from gateway.cli.dev import dev_secret
from gateway.errors import DataFolderInUse
from gateway.runs.worker_mark import WorkerMark
from gateway.store.embedded.data_folder import DataFolder
from tests.support.embedded_servers import call, ensured

if TYPE_CHECKING:
    from pathlib import Path


def modes(folder: Path) -> dict[str, int]:
    """The modes of a folder and of all in it."""
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in paths}


async def test_nothing_in_the_folder_is_for_others(tmp_path: Path) -> None:
    """Whoever makes the folder first, and whatever the umask is: log, lock, secret and data."""
    folder = tmp_path / "data"
    before = os.umask(0)
    try:
        dev_secret(folder)
        async with ensured(folder) as server:
            await call(await server.ensure(), "SET", "k", "v")
            WorkerMark.make(folder / "workers", "w_1").let_go()
            found = modes(folder)
    finally:
        os.umask(before)
    assert {"server.log", "dev-secret", "lock", "appendonlydir", "workers/w_1"} <= set(found)
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_folder_of_an_earlier_version_is_closed(tmp_path: Path) -> None:
    """Folder, log, secret and data were for everybody to read; the log names what was open."""
    folder = tmp_path / "data"
    (folder / "appendonlydir").mkdir(parents=True)
    for name in ("server.log", "server.log.1", "dev-secret", "appendonlydir/appendonly.aof.1"):
        (folder / name).write_text("")
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    with capture_logs() as logs:
        DataFolder(folder).prepare()
        DataFolder(folder).prepare()
    assert {name: oct(mode) for name, mode in modes(folder).items() if mode & 0o077} == {}
    (told,) = logs
    assert told["event"] == "data_folder_mended"
    assert {"data", "dev-secret", "server.log"} <= set(told["files"])


def test_folder_with_other_things_in_it_keeps_its_mode(tmp_path: Path) -> None:
    """It may be somebody's home: what is ours in it is closed, and the log tells of the rest."""
    (tmp_path / "letters").write_text("")
    (tmp_path / "letters").chmod(0o644)
    (tmp_path / "server.log").write_text("")
    (tmp_path / "server.log").chmod(0o644)
    tmp_path.chmod(0o755)
    with capture_logs() as logs:
        DataFolder(tmp_path).prepare()
    found = modes(tmp_path)
    assert (found["."], found["letters"], found["server.log"]) == (0o755, 0o644, 0o600)
    assert [told.get("mode") for told in logs if told["event"] == "data_folder_open"] == ["0755"]


def test_links_in_the_folder_lead_nowhere(tmp_path: Path) -> None:
    """A link that somebody laid where the log should be is neither written to nor closed."""
    folder, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("")
    elsewhere.chmod(0o644)
    (folder / "server.log").symlink_to(elsewhere)
    DataFolder(folder).prepare()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    with pytest.raises(DataFolderInUse, match="cannot be written"):
        DataFolder(folder).open_log()


def test_secret_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who laid it there knows it, and could sign tokens for everybody."""
    dev_secret(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(DataFolderInUse, match="another user's"):
        dev_secret(tmp_path)
