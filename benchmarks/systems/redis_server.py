"""The Redis of a measurement: empty, the server that the gateway embeds, synced each second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.systems.base import Redis
from benchmarks.systems.processes import ServerProcess, free_port
from gateway.store.embedded.server import find_server_binary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OPTIONS = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class RedisServer:
    """A running server; `stop` it."""

    def __init__(self, folder: Path, *, cores: Sequence[int]) -> None:
        self.binary = find_server_binary()
        self.address = Redis(free_port(), str(folder / "redis.sock"))
        own = {"port": str(self.address.port), "unixsocket": self.address.socket_path}
        command = [str(self.binary)]
        for name, value in {**OPTIONS, **own, "dir": str(folder)}.items():
            command += [f"--{name}", value]
        self._process = ServerProcess(command, cores=cores, log=folder / "redis.log")
        self._process.wait_until(lambda: "Ready to accept" in self._process.output)

    @property
    def pids(self) -> list[int]:
        """Its process."""
        return [self._process.pid]

    def stop(self) -> None:
        """End it; its data is not needed any more."""
        self._process.kill()
