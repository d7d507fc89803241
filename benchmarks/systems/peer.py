"""What all peers have in common: server processes that are started, cut off and started again.

What a peer needs is installed under `build/peers/`, apart from what the gateway needs.
"""

from __future__ import annotations

import subprocess
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.systems.base import Deployment, System, Unavailable
from benchmarks.systems.processes import ServerProcess, descendants, free_port, is_listening

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "peers"
INSTALL_S = 300.0
VERSION_S = 20.0


class Peer(System):
    """A system whose replicas are one server process each, told its port when it starts."""

    def __init__(self) -> None:
        self._deployment: Deployment
        self._ports: list[int] = []
        self._processes: list[ServerProcess] = []

    @property
    def set_up_command(self) -> str:
        """What to type to have it installed."""
        return f"python -m benchmarks.systems.set_up {self.key}"

    @abstractmethod
    def launch(self, replica: int, port: int, deployment: Deployment) -> ServerProcess:
        """Start one replica's process; it need not listen yet."""

    def is_ready(self, port: int) -> bool:
        """Whether a replica takes connections."""
        return is_listening(port)

    def start(self, deployment: Deployment) -> None:
        """Start all replicas and wait until they accept connections."""
        self._deployment = deployment
        self._ports = [free_port() for _ in range(deployment.replicas)]
        for replica, port in enumerate(self._ports):
            self._processes.append(self.launch(replica, port, deployment))
        for process, port in zip(self._processes, self._ports, strict=True):
            process.wait_until(partial(self.is_ready, port))

    def stop(self) -> None:
        """End everything that was started, whatever state it is in."""
        while self._processes:
            self._processes.pop().stop()

    def kill(self, replica: int) -> None:
        """SIGKILL a replica."""
        self._processes[replica].kill()

    def restart(self, replica: int) -> None:
        """Start a killed replica again, on the same port, remembering nothing."""
        port = self._ports[replica]
        self._processes[replica] = self.launch(replica, port, self._deployment)
        self._processes[replica].wait_until(partial(self.is_ready, port))

    @property
    def with_auth(self) -> bool:
        """Whether tokens are verified."""
        return self._deployment.with_auth

    @property
    def ports(self) -> Sequence[int]:
        """Of the replicas, on 127.0.0.1."""
        return self._ports

    @property
    def pids(self) -> Sequence[int]:
        """The servers' processes, with their children."""
        return [pid for process in self._processes for pid in descendants(process.pid)]


def room_name(room: int) -> str:
    """The name of a room, always 5 characters long."""
    return f"r{room:04}"


def upgrade(target: str, *headers: str) -> bytes:
    """An HTTP request that asks for a WebSocket without extensions."""
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def command_output(*command: str, within_s: float = VERSION_S) -> str:
    """What a command prints, its errors too.

    Raises:
        Unavailable: there is no such command, or it fails.
    """
    try:
        done = subprocess.run(  # noqa: S603  # commands of ours
            command, capture_output=True, text=True, timeout=within_s, check=True
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        raise Unavailable(f"`{' '.join(command)}` failed: {''.join(last)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"`{' '.join(command)}` failed: {error}") from error
    return done.stdout + done.stderr
