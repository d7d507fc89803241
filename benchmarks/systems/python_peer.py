"""Peers in Python: one virtual environment for them all, apart from the gateway's."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.systems.base import SECRET, Deployment
from benchmarks.systems.peer import BUILD, INSTALL_S, Peer, command_output
from benchmarks.systems.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIREMENTS = Path(__file__).with_name("peers.txt")
FOLDER = BUILD / "python"
PYTHON = FOLDER / "bin" / "python"
INSTALLED = FOLDER / REQUIREMENTS.name  # what was installed, once it was
SHOW_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


class PythonPeer(Peer):
    """A server program of ours on a library, run by one process a replica."""

    server: Path
    packages: tuple[str, ...]

    def why_unavailable(self) -> str | None:
        """Say whether the packages are those of the lock file."""
        if INSTALLED.is_file() and INSTALLED.read_bytes() == REQUIREMENTS.read_bytes():
            return None
        return f"its packages are missing: {self.set_up_command}"

    def set_up(self) -> None:
        """Make the virtual environment."""
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.parent.mkdir(parents=True, exist_ok=True)
        command_output(sys.executable, "-m", "venv", str(FOLDER), within_s=INSTALL_S)
        pip = (str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        command_output(*pip, "--require-hashes", "-r", str(REQUIREMENTS), within_s=INSTALL_S)
        if self.why_unavailable() is not None:
            shutil.copy(REQUIREMENTS, INSTALLED)

    def versions(self) -> dict[str, str]:
        """Of Python and the packages that the server is made of."""
        installed: dict[str, str] = json.loads(
            command_output(str(PYTHON), "-c", SHOW_VERSIONS, *self.packages)
        )
        python = command_output(str(PYTHON), "--version").split()[-1]
        return {"python": python} | installed

    def launch(self, replica: int, port: int, deployment: Deployment) -> ServerProcess:
        """Start a server; with JWT verified if asked for."""
        return ServerProcess(
            [str(PYTHON), str(self.server), str(port), deployment.redis.url],
            cores=deployment.cores,
            log=Path(deployment.folder) / f"{self.key}-{replica}.log",
            environment=environment(with_auth=deployment.with_auth),
        )


def environment(*, with_auth: bool) -> Mapping[str, str]:
    """What a server is told of by its environment."""
    told = {"PYTHONUNBUFFERED": "1"} | ({"JWT_SECRET": SECRET} if with_auth else {})
    return {name: value for name, value in os.environ.items() if name != "JWT_SECRET"} | told
