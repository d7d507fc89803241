"""Marks of workers: locked as long as a worker lives, and free the moment it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.runs.worker_mark import WorkerMark, marks_folder, marks_of_the_dead
from gateway.store.embedded.data_folder import private_folder

if TYPE_CHECKING:
    from pathlib import Path

MARKS_AND_WAITS = """
import sys
from pathlib import Path
from gateway.runs.worker_mark import WorkerMark
mark = WorkerMark.make(Path(sys.argv[1]), "w_other")
print("marked", flush=True)
sys.stdin.read()
"""


def test_living_worker_is_not_taken_for_dead(tmp_path: Path) -> None:
    """Nor one that has removed its mark, nor a folder that is not there."""
    assert marks_of_the_dead(tmp_path / "nowhere") == []
    mark = WorkerMark.make(tmp_path / "marks", "w_1")
    assert marks_of_the_dead(tmp_path / "marks") == []
    mark.remove()
    assert marks_of_the_dead(tmp_path / "marks") == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_killed_worker_is_known_to_be_dead_and_a_stopped_one_is_not(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Whoever takes its mark first; one that lets go leaves it to others."""
    command = [sys.executable, "-c", MARKS_AND_WAITS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"marked\n"
        worker.send_signal(number)
        if number == signal.SIGSTOP:
            assert marks_of_the_dead(tmp_path) == []
            worker.kill()
        worker.wait()
    (mark,) = marks_of_the_dead(tmp_path)
    assert mark.worker_id == "w_other"
    assert marks_of_the_dead(tmp_path) == []
    mark.let_go()
    (mark,) = marks_of_the_dead(tmp_path)
    mark.remove()
    assert marks_of_the_dead(tmp_path) == []


def test_marks_are_in_the_data_folder_or_in_a_private_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each Redis and prefix; a socket elsewhere is no data folder of ours."""
    socket = f"unix://{tmp_path}/server.sock"
    assert marks_folder(socket, "gw").parent == private_folder()
    (tmp_path / "lock").touch()
    assert marks_folder(socket, "gw") == tmp_path / "workers"
    urls = [("redis://a", "gw"), ("redis://a", "other"), ("redis://b", "gw")]
    assert len({marks_folder(*one) for one in urls}) == 3
    assert private_folder().stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(PermissionError):
        marks_folder("redis://a", "gw")  # it is somebody else's
