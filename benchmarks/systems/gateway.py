"""The gateway itself: membership, idempotency, limits and pings on, limits set high enough."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.systems.base import SECRET, Deployment, Dialect, Seat, Session, System, subject
from benchmarks.systems.processes import ServerProcess, descendants, free_port

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "JWT_SECRET": SECRET,
    "LOG_LEVEL": "warning",
    "REQUESTS_PER_S": "1e7",
    "REQUESTS_BURST": "10000000",
    "SUBJECT_REQUESTS_PER_S": "1e7",
    "SUBJECT_REQUESTS_BURST": "10000000",
    "SUBJECT_BYTES_PER_HOUR": "1000000000000",
    "CREATED_PER_HOUR": "1000000",
    "ADDED_PER_HOUR": "1000000",
    "WORKER_CONCURRENCY": "1000",
    "AGENTS": "stream=benchmarks.systems.stream_agent:stream",
}


class GatewaySession(Session):
    """`gateway.v1` (docs/protocol.md), as far as it is measured."""

    def __init__(
        self, seat: Seat, *, session: dict[str, Any] | None = None, cursors: dict[str, Any]
    ) -> None:
        self._seat = seat
        self._session = session  # what `session_ready` said; of the one before, if resumed
        self._cursors = cursors
        self._resumes = session is not None
        self._waits_for: set[int] = set()

    def opening(self) -> bytes:
        """The upgrade, with the token in the header."""
        return (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Authorization: Bearer " + self._seat.token.encode() + b"\r\n\r\n"
        )

    def opened(self) -> Iterable[bytes]:
        """`connect`, and a request for each room of a new session."""
        if self._session is not None:
            names = ("session_id", "resume_token")
            own = {name: self._session[name] for name in names} | {"cursors": self._cursors}
            return [_request("connect", 1, **own)]
        requests = [_request("connect", 1)]
        requests += [self._join(room, 2 + n) for n, room in enumerate(self._seat.rooms)]
        self._waits_for = set(range(1, len(requests) + 1))
        return requests

    def received(self, message: bytes) -> Iterable[bytes]:
        """Follow the positions; joined when all requests are answered."""
        decoded = msgspec.json.decode(message)
        for one in decoded if isinstance(decoded, list) else (decoded,):
            self._take(one)
        return ()

    def publishing(self, room: int) -> bytes:
        """`send_message`; nobody is asked to answer."""
        return (
            b'{"type":"send_message","id":1,"conversation_id":"%b","client_message_id":"%%(id)b",'
            b'"content":"%%(text)b","agent":null}' % _name(room).encode()
        )

    def asking(self, room: int, text: str) -> bytes:
        """A message that an agent of ours replies to."""
        named = {"conversation_id": _name(room), "client_message_id": f"ask-{room}"}
        return _request("send_message", 1, **named, content=text, agent="stream")

    def resumed(self) -> Session:
        """The same session on another connection."""
        return GatewaySession(self._seat, session=self._session, cursors=dict(self._cursors))

    def _join(self, room: int, request_id: int) -> bytes:
        name = _name(room)
        if not self._seat.is_first:
            return _request("join_conversation", request_id, conversation_id=name)
        others = [subject(n) for n in self._seat.mates if n != self._seat.number]
        asked = {"conversation_id": name, "participants": others, "visibility": "open"}
        return _request("create_conversation", request_id, **asked)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind in {"error", "disconnect"}:
            raise RuntimeError(f"the gateway refused: {message}")
        if kind == "session_ready":
            if self._resumes and not message["resumed"]:
                raise RuntimeError(f"not resumed: {message}")
            self._session = message
            self.is_joined = self._resumes
        elif kind == "live":
            self.is_caught_up = True
        else:
            self._follow(message)
        self._waits_for.discard(message.get("reply_to", 0))
        if not self._resumes and self._session is not None:
            self.is_joined = not self._waits_for

    def _follow(self, message: dict[str, Any]) -> None:
        place = message.get("position", message)
        if "offset" in place and "conversation_id" in message:
            at = {"epoch": place["epoch"], "offset": place["offset"]}
            self._cursors[message["conversation_id"]] = at


class Gateway(System):
    """`gateway serve`, on the Redis that it is given."""

    name = "gateway"
    key = "gateway"
    is_for_all_storms = True
    is_peer = False
    always_authenticates = True
    rooms_a_session = 200

    def __init__(self) -> None:
        self._ports: list[int] = []
        self._processes: list[ServerProcess] = []
        self._deployment: Deployment | None = None

    def why_unavailable(self) -> str | None:
        """It is here."""
        return None

    def versions(self) -> dict[str, str]:
        """Of what is on the hot path."""
        parts = ("session-gateway", "uvicorn", "uvloop", "httptools", "websockets", "hiredis")
        named = {name: version(name) for name in (*parts, "msgspec", "redis")}
        return {"Python": platform.python_version()} | named

    def start(self, deployment: Deployment) -> None:
        """Start the replicas, one after the other."""
        self._deployment = deployment
        self._ports = [free_port() for _ in range(deployment.replicas)]
        self._processes = [self._run(replica) for replica in range(deployment.replicas)]

    def stop(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()
        self._processes = []

    def kill(self, replica: int) -> None:
        """SIGKILL one."""
        self._processes[replica].kill()

    def restart(self, replica: int) -> None:
        """Start one that was killed."""
        self._processes[replica] = self._run(replica)

    @property
    def ports(self) -> Sequence[int]:
        """One a replica."""
        return self._ports

    @property
    def pids(self) -> Sequence[int]:
        """All processes of all replicas."""
        return [pid for process in self._processes for pid in descendants(process.pid)]

    @property
    def dialect(self) -> Dialect:
        """`message_accepted` says that Redis has it."""
        return Dialect(
            acknowledgement=b'"type":"message_accepted"',
            keepalive=b'{"type":"ping"}',
            keepalive_s=25.0,
        )

    def session(self, seat: Seat, *, text_bytes: int) -> GatewaySession:
        """A new session."""
        del text_bytes
        return GatewaySession(seat, cursors={})

    def _run(self, replica: int) -> ServerProcess:
        deployment = self._deployment
        if deployment is None:
            raise RuntimeError("not started")
        own = SETTINGS | {"REDIS_URL": deployment.redis.url}
        port = self._ports[replica]
        words = ["--workers", str(deployment.workers)] if deployment.workers > 1 else []
        clean = {name: v for name, v in os.environ.items() if not name.startswith("GATEWAY_")}
        process = ServerProcess(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port), *words],
            cores=deployment.cores,
            log=Path(deployment.folder, f"gateway-{replica}.log"),
            environment=clean | {f"GATEWAY_{name}": value for name, value in own.items()},
            folder=ROOT,
        )
        process.wait_until(lambda: "listening on" in process.output)
        return process


def has_workers() -> bool:
    """Whether `gateway serve` can use several cores."""
    command = [sys.executable, "-m", "gateway", "serve", "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return "--workers" in told.stdout


def _name(room: int) -> str:
    return f"room-{room:04}"


def _request(kind: str, request_id: int, **fields: object) -> bytes:
    return json.dumps({"type": kind, "id": request_id} | fields, separators=(",", ":")).encode()
