"""Socket.IO 4 on Node, with the Redis Streams adapter and connection state recovery.

`server.js` is the server. A client that comes back names its private id and the offset of the last
event it saw; the adapter restores its rooms from Redis and replays from the stream. The session is
put into Redis when a server notices that a client has gone: what a killed server had not noticed
is not recovered, and such a client is never caught up.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.systems.base import SECRET, Deployment, Dialect, Seat, Session, Unavailable
from benchmarks.systems.engine_io import DIALECT, EngineIoSession
from benchmarks.systems.peer import BUILD, INSTALL_S, Peer, command_output, room_name
from benchmarks.systems.processes import ServerProcess

HERE = Path(__file__).parent
FOLDER = BUILD / "socketio_node"
PACKAGES = ("socket.io", "@socket.io/redis-streams-adapter", "ioredis")
MAX_LEN = 200_000  # entries of the stream; by default 10,000, too few for a storm under load


class SocketIoNode(Peer):
    """One Node process a replica."""

    name = "Socket.IO"
    key = "socketio"
    warm_up_s = 3.0  # with 0.3 s its p99 is thirty times as high
    rooms_a_session = 1000

    def why_unavailable(self) -> str | None:
        """Name Node, or the packages that are not installed or not those of the lock file."""
        if shutil.which("node") is None:
            return "Node is missing: apt install nodejs npm"
        lock = FOLDER / "package-lock.json"
        if not (FOLDER / "node_modules").is_dir() or not _is_same(lock, HERE / lock.name):
            return f"its npm packages are missing: {self.set_up_command}"
        return None

    def set_up(self) -> None:
        """Install what the lock file names, from the npm registry."""
        if shutil.which("npm") is None:
            raise Unavailable("npm is missing: apt install nodejs npm")
        FOLDER.mkdir(parents=True, exist_ok=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / file, FOLDER / file)
        arguments = ("--prefix", str(FOLDER), "--no-audit", "--no-fund", "--loglevel", "error")
        try:
            command_output("npm", "ci", *arguments, within_s=INSTALL_S)
        except Unavailable:
            shutil.rmtree(FOLDER)
            raise

    def versions(self) -> dict[str, str]:
        """Of Node and the packages that the server names."""
        packages = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
        versions = {name: packages[f"node_modules/{name}"]["version"] for name in PACKAGES}
        return {"node": command_output("node", "--version").strip().removeprefix("v")} | versions

    def launch(self, replica: int, port: int, deployment: Deployment) -> ServerProcess:
        """Start a server; with JWT verified in a middleware if asked for."""
        environment = os.environ | {
            "NODE_PATH": str(FOLDER / "node_modules"),
            "NODE_ENV": "production",
        }
        if deployment.with_auth:
            environment["JWT_SECRET"] = SECRET
        command = ["node", str(HERE / "server.js"), str(port), deployment.redis.url]
        return ServerProcess(
            [*command, str(MAX_LEN)],
            cores=deployment.cores,
            log=Path(deployment.folder) / f"socketio-{replica}.log",
            environment=environment,
        )

    @property
    def dialect(self) -> Dialect:
        """Engine.IO's."""
        return DIALECT

    def session(self, seat: Seat, *, text_bytes: int) -> Session:  # noqa: ARG002
        """A client that joins with its first packet."""
        return RecoverableSession(seat, with_auth=self.with_auth)


class RecoverableSession(EngineIoSession):
    """A connection whose state the server recovers."""

    def __init__(
        self, seat: Seat, *, with_auth: bool, pid: str | None = None, offset: str | None = None
    ) -> None:
        super().__init__(seat, with_auth=with_auth)
        self._pid = pid
        self._offset = offset
        self._is_resumed = pid is not None and offset is not None

    def greeting(self) -> dict[str, Any]:
        """Its rooms, and where it stood if there is anything to recover."""
        rooms = {"rooms": [room_name(room) for room in self.seat.rooms]}
        if self._is_resumed:
            return rooms | {"pid": self._pid, "offset": self._offset}
        return rooms

    def delivered(self, event: list[Any]) -> None:
        """Remember the offset, which the server appends to what it emits."""
        self._offset = event[-1]

    def told(self, packet: bytes) -> None:
        """Connected: what was missed came before. Another private id: nothing was recovered."""
        if packet.startswith(b"40{"):
            pid = json.loads(packet[2:])["pid"]
            self.is_caught_up = self._is_resumed and pid == self._pid
            self._pid = pid
            self.is_joined = True

    def resumed(self) -> Session:
        """The same client, with its private id and its offset."""
        return RecoverableSession(
            self.seat, with_auth=self.with_auth, pid=self._pid, offset=self._offset
        )


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()
