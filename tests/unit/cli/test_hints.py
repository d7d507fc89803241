"""What `gateway serve --dev` prints can be pasted, and the commands find what it made."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest

from gateway.cli.serve.hints import dev_hints, dev_warning, own_command
from gateway.settings import load_settings
from gateway.store.redis.scripts import Script
from tests.support.eventually import eventually
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import OwnGateway

SOURCES = Path(__file__).parents[3]
SCRIPT = Path(sys.executable).with_name("gateway")


def environment(**more: str) -> dict[str, str]:
    """Return an environment without settings and without the command on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return kept | {"PATH": "/usr/bin:/bin"} | more


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder with the command where `make run` puts it."""
    program = tmp_path / ".venv" / "bin" / "gateway"
    program.parent.mkdir(parents=True)
    program.symlink_to(SCRIPT)
    return tmp_path


@pytest.fixture
def serving(clone: Path) -> Iterator[tuple[Path, int]]:
    """Run `.venv/bin/gateway serve --dev` in the clone; yield what it prints to, and its port."""
    printed, port = clone / "printed.txt", free_port()
    with printed.open("wb") as out, (clone / "err.txt").open("wb") as err:
        process = subprocess.Popen(
            [".venv/bin/gateway", "serve", "--dev", "--port", str(port)],
            cwd=clone,
            env=environment(),
            stdout=out,
            stderr=err,
        )
    try:
        yield printed, port
    finally:
        process.terminate()
        process.wait(30)


def pasted(command: str, folder: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a line in a shell there, as somebody does who has nothing on the path."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environment(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


async def test_printed_commands_can_be_pasted(serving, clone: Path) -> None:
    """Both talk to the gateway that printed them; the token is there once."""
    printed, port = serving
    await eventually(lambda: "--sub bob" in printed.read_text(), what="it listens", within_s=30)
    text = printed.read_text()
    (token,) = {part for part in text.replace("token=", " ").split() if part.startswith("eyJ")}
    assert text.count(token) == 1
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    assert len(commands) == 2
    for command in commands:
        done = pasted(command, clone, "hello\n")
        assert done.returncode == 0, done  # all that was typed is acknowledged
        assert "● live" in done.stdout
        assert f"--url http://127.0.0.1:{port}" in command


async def test_secret_is_found_from_anywhere_in_the_clone(serving, clone: Path) -> None:
    """`gateway token` looks further up; where there is none, it says where it looked."""
    printed, _ = serving
    await eventually(lambda: "--sub bob" in printed.read_text(), what="it listens", within_s=30)
    below = clone / "docs" / "examples"
    below.mkdir(parents=True)
    assert pasted(f"{SCRIPT} token --sub a", below).stdout.startswith("eyJ")


@pytest.mark.parametrize("command", ["token --sub a", "chat"])
def test_missing_secret_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    """With the folder it looked in, and what to do."""
    done = pasted(f"{SCRIPT} {command}", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "gateway-data") in line
    assert "--data-dir" in line


def test_command_on_the_path_is_called_by_its_name(monkeypatch, tmp_path: Path) -> None:
    """Else by its path: short from below the working folder, whole from elsewhere."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / ".venv" / "bin" / "gateway"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", str(program.parent))
    assert own_command() == "gateway"
    monkeypatch.setenv("PATH", "/nowhere")
    assert own_command() == ".venv/bin/gateway"
    monkeypatch.chdir(program.parent)
    assert own_command() == "./gateway"
    (tmp_path / "else where").mkdir()
    monkeypatch.chdir(tmp_path / "else where")
    assert own_command() == str(program)
    monkeypatch.setattr(sys, "argv", ["/x/gateway/__main__.py"])
    assert own_command() == f"{shlex.quote(sys.executable)} -m gateway"


def test_hint_names_what_is_not_usual(tmp_path: Path) -> None:
    """The data folder with its secret; a secret of one's own is not needed to talk."""
    settings = load_settings({}, jwt_secret="s" * 32, data_dir=str(tmp_path), dev=True)
    lines = [line for line in dev_hints(settings, "::", 8000) if line.startswith("    ")]
    assert len(lines) == 1
    assert "--url 'ws://[::1]:8000/ws?token=" in lines[0]
    (tmp_path / "dev-secret").write_text("s" * 32)
    lines = [line for line in dev_hints(settings, "::1", 8000) if line.startswith("    ")]
    assert [line.split()[-2:] for line in lines] == [["--sub", "alice"], ["--sub", "bob"]]
    assert all(f"--data-dir {tmp_path}" in line for line in lines)
    assert all("--url 'http://[::1]:8000'" in line for line in lines)


@pytest.mark.parametrize(
    ("host", "is_public"),
    [
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("localhost", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("0.0.0.0", True),  # noqa: S104  # nothing is bound
        ("::", True),
        ("192.0.2.1", True),
        ("", True),
        ("no such name", True),
    ],
)
def test_gateway_that_others_reach_warns_and_its_token_is_short(
    tmp_path: Path, host: str, is_public: bool
) -> None:
    """What `--dev` prints is good for an hour then; on loopback for a month."""
    settings = load_settings({}, jwt_secret="s" * 32, data_dir=str(tmp_path), dev=True)
    (url,) = (line for line in dev_hints(settings, host, 8000) if line.startswith("url: "))
    claims = jwt.decode(url.partition("token=")[2], "s" * 32, algorithms=["HS256"])
    assert claims["exp"] - claims["iat"] == (3_600 if is_public else 30 * 86_400)
    warning = "\n".join(dev_warning(host))
    assert warning.startswith("WARNING: --dev") is is_public
    assert ("no TLS" in warning) is is_public


async def test_warning_is_printed_and_logged(own_gateway: OwnGateway) -> None:
    """A gateway with `--dev` on all addresses says so where people look, and where machines do."""
    gateway = await own_gateway(host="0.0.0.0", dev="yes")  # noqa: S104  # what is tested
    await eventually(lambda: "url: " in gateway.logs, what="it has said what it has to say")
    assert "WARNING: --dev is on, and other machines can reach 0.0.0.0." in gateway.logs
    assert '"event": "dev_is_public"' in gateway.logs
    gateway = await own_gateway(dev="yes")
    await eventually(lambda: "url: " in gateway.logs, what="it has said what it has to say")
    assert "WARNING" not in gateway.logs
    assert "dev_is_public" not in gateway.logs


def test_own_files_are_read_where_there_is_ascii_only() -> None:
    """They are UTF-8, whatever the locale says."""
    code = "from gateway.store.redis.scripts import Script; print(Script('send').sha)"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SOURCES,
        env=environment(**ascii_only),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{Script('send').sha}\n"), done.stderr
