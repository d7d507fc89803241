"""What a message, a connect and a resume cost the gateway, in instructions of the processor.

    python -m benchmarks.micro_instructions [--count N] [--json FILE]

Time is a poor measure on a machine with neighbours; the number of instructions does not depend on
them: two runs differ by a hundredth. It counts those of the gateway's process in user
space with Callgrind, so what the kernel does for it (sockets, wake-ups) is not in it, and caches
and branches count nothing. `valgrind` must be on PATH.

It starts a Redis and a gateway of its own, the latter some fifty times slower than it is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.sync.client import ClientConnection, connect

from benchmarks.generator.frames import frame
from benchmarks.generator.tokens import mint
from benchmarks.systems.gateway import ROOT, SETTINGS
from benchmarks.systems.processes import ServerProcess, free_port
from benchmarks.systems.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TEXT = "x" * 200
TOGETHER = 16  # messages of a burst
MISSED = 10  # messages that a resume brings
# What is done as time goes by is no part of any of these: the look at each connection four times a
# second, at the master's reign twenty times, at the dataset, the sentinels, the runs and whether
# Redis takes writes every second or three, that for garbage in cycles, and that for runs to be
# executed (`--no-worker`).
WITHOUT_TICKS = """
import gc
gc.disable()
import gateway.connections.dataset, gateway.connections.readiness, gateway.connections.ticker
import gateway.runs.run_watch
import gateway.store.redis.client, gateway.store.redis.master_link, gateway.store.server_clocks
gateway.connections.ticker.TICK_S = gateway.connections.dataset.LOOK_S = 1e6
gateway.store.redis.client.WATCH_S = 1e6
gateway.runs.run_watch.SHORTEST_PAUSE_S = gateway.runs.run_watch.LONGEST_PAUSE_S = 1e6
gateway.connections.readiness.PROBE_S = 1e6
gateway.store.redis.master_link.LOOK_AGAIN_S = gateway.store.server_clocks.FRESH_S = 1e6
from gateway.__main__ import main
main()
"""
START_S, ANSWER_S = 300.0, 60.0


class Client:
    """A client that waits for what it asked."""

    def __init__(self, port: int, subject: str, **session: object) -> None:
        self._socket: ClientConnection = connect(
            f"ws://127.0.0.1:{port}/ws",
            additional_headers={"Authorization": f"Bearer {mint(subject)}"},
            compression=None,
            open_timeout=ANSWER_S,
            legacy=True,  # not closed at the end of a block
        )
        self._ids = 0
        self.ready: dict[str, Any] = {}
        self.ask("connect", **session)
        self.hear("live")

    def ask(self, kind: str, **fields: object) -> None:
        """Send a request."""
        self._socket.socket.sendall(self._frame(kind, **fields))

    def _frame(self, kind: str, **fields: object) -> bytes:
        self._ids += 1
        request = {"type": kind, "id": self._ids, **fields}
        return frame(json.dumps(request, separators=(",", ":")).encode())

    def hear(self, kind: str) -> dict[str, Any]:
        """Read until something of a type has come."""
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(ANSWER_S))
            if message["type"] == "session_ready":
                self.ready = message
            if message["type"] in {kind, "error"}:
                return _good(message)

    def say(self, *client_message_ids: str) -> None:
        """Send messages to the room in one write; nobody answers them."""
        said = {"conversation_id": "room", "content": TEXT, "agent": None}
        frames = [
            self._frame("send_message", **said, client_message_id=one) for one in client_message_ids
        ]
        self._socket.socket.sendall(b"".join(frames))

    def close(self) -> None:
        """Leave."""
        self._socket.close()


class Gateway:
    """A gateway under Callgrind."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.port = free_port()
        self._folder = folder
        own = {f"GATEWAY_{name}": value for name, value in SETTINGS.items()}
        callgrind = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        self._process = ServerProcess(
            ["valgrind", *callgrind, sys.executable, "-c", WITHOUT_TICKS, "serve", "--no-worker"],
            cores=(),
            log=folder / "gateway.log",
            environment=os.environ
            | own
            | {
                "GATEWAY_PORT": str(self.port),
                "GATEWAY_REDIS_URL": redis_url,
                "GATEWAY_REDIS_TIMEOUT_S": "30",  # it is slow
                "PYTHONHASHSEED": "0",
            },
            folder=ROOT,
        )
        self._process.wait_until(lambda: "listening on" in self._process.output, within_s=START_S)

    def count(self, work: Callable[[], None]) -> int:
        """Count the instructions of what is done meanwhile."""
        self._control("--instr=on")
        self._control("--zero")
        work()
        self._control("--dump")
        self._control("--instr=off")
        newest = max(self._folder.glob("out.*"), key=lambda file: file.stat().st_mtime_ns)
        for line in newest.read_text(errors="replace").splitlines():
            if line.startswith("totals:"):
                return int(line.split()[1])
        raise RuntimeError(f"no totals in {newest}")

    def stop(self) -> None:
        """End it."""
        self._process.kill()

    def _control(self, word: str) -> None:
        command = ["callgrind_control", word, str(self._process.pid)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # Valgrind's own


def counted(gateway: Gateway, count: int) -> Iterator[tuple[str, float]]:
    """Each kind of work, and its instructions by item."""
    one, other = Client(gateway.port, "one"), Client(gateway.port, "other")
    one.ask("create_conversation", conversation_id="room", visibility="open")
    one.hear("conversation")
    other.ask("join_conversation", conversation_id="room")
    other.hear("joined")
    other.hear("live")
    _say(one, other, "warm", range(50), together=TOGETHER)
    _say(one, other, "cold", range(20), together=1)
    found = gateway.count(lambda: _say(one, other, "alone", range(count), together=1))
    yield "a message by itself, room of 2", found / count
    many = range(count * TOGETHER)
    found = gateway.count(lambda: _say(one, other, "burst", many, together=TOGETHER))
    yield f"a message of a burst of {TOGETHER}, room of 2", found / len(many)
    kept = [Client(gateway.port, f"warm{n}") for n in range(20)]
    found = gateway.count(
        lambda: kept.extend([Client(gateway.port, f"new{n}") for n in range(count)])
    )
    yield "a connect: handshake, token, session", found / count
    yield f"a resume with {MISSED} missed messages", _resumed(gateway, one, count)


def _say(one: Client, other: Client, name: str, which: Sequence[int], *, together: int) -> None:
    """Send so many at a time, each time until both have heard them."""
    for begin in range(0, len(which), together):
        some = which[begin : begin + together]
        one.say(*[f"{name}{n}" for n in some])
        for _ in some:
            one.hear("message_accepted")
        for _ in some:
            other.hear("event")


def _resumed(gateway: Gateway, one: Client, count: int) -> float:
    left = [_joined_and_left(gateway, f"back{n}") for n in range(count)]
    cursors = {"room": left[-1][1]}  # as if all had heard as much
    for n in range(MISSED):
        one.say(f"missed{n}")
        one.hear("message_accepted")

    def come_back() -> None:
        for n, (session, _) in enumerate(left):
            Client(gateway.port, f"back{n}", **session, cursors=cursors)

    return gateway.count(come_back) / count


def _joined_and_left(gateway: Gateway, subject: str) -> tuple[dict[str, object], object]:
    """A session whose client is away, and where the room stood when it joined."""
    client = Client(gateway.port, subject)
    client.ask("join_conversation", conversation_id="room")
    joined = client.hear("joined")
    client.hear("live")
    client.close()
    session = {name: client.ready[name] for name in ("session_id", "resume_token")}
    return session, {"epoch": joined["epoch"], "offset": joined["offset"]}


def _good(message: dict[str, Any]) -> dict[str, Any]:
    if message["type"] == "error":
        raise RuntimeError(f"the gateway refused: {message}")
    return message


def main() -> None:
    """Count, and print a line for each kind."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100, help="items of each kind (100)")
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    chosen = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not on PATH; on Debian and Ubuntu: apt install valgrind")
    numbers: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        redis = RedisServer(Path(name), cores=())
        stack.callback(redis.stop)
        gateway = Gateway(Path(name), redis.address.url)
        stack.callback(gateway.stop)
        for what, instructions in counted(gateway, chosen.count):
            numbers[what] = round(instructions)
            print(f"{what:45} {numbers[what]:>9,} instructions", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
