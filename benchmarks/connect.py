"""How long it takes to connect and to restore a session of 1 and of 10 conversations.

    python -m benchmarks.connect [--connections N] [--concurrency N] [--json FILE]

It starts a gateway of its own with the embedded server on a folder that is thrown away, and prints
medians and 99th percentiles. What is timed, at the client, in milliseconds:

connect   from dialling to the reply of the first `connect`: TCP, upgrade, JWT, a new session
restore   from dialling to `live` of a session that was cut off: the same, and for each conversation
          a replay of the events that were missed

Client and gateway share this machine, so the numbers hold the client's own time too: compare them
with each other, not with those of another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from websockets.asyncio.client import ClientConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT = Path(__file__).parents[1]
START_S = 20.0
REPLY_S = 30.0
MISSED_EVENTS = 10  # in each conversation, while the session was away
SECRET = secrets.token_hex(32)


class Client:
    """A socket that speaks just as much of the protocol as is timed."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    async def open(cls, url: str) -> Client:
        """Dial; `hello` is read when it comes."""
        return cls(await connect(url, compression=None, proxy=None, ping_interval=None))

    async def request(self, kind: str, **fields: object) -> dict[str, Any]:
        """Send a request and return its reply."""
        await self._socket.send(json.dumps({"type": kind, "id": 1} | fields))
        reply = await self.read(lambda message: message.get("reply_to") == 1)
        if reply["type"] == "error":
            raise RuntimeError(f"{kind}: {reply}")
        return reply

    async def read(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read until a wanted message has come."""
        async with asyncio.timeout(REPLY_S):
            while True:
                decoded = json.loads(await self._socket.recv())
                for message in decoded if isinstance(decoded, list) else [decoded]:
                    if is_wanted(message):
                        found: dict[str, Any] = message
                        return found

    def cut(self) -> None:
        """End as a lost network does, without a word."""
        self._socket.transport.abort()


async def time_connect(url: str) -> float:
    """Return the milliseconds of one new session."""
    began = time.perf_counter()
    client = await Client.open(url)
    await client.request("connect")
    took_ms = (time.perf_counter() - began) * 1000
    client.cut()
    return took_ms


async def time_restore(url: str, conversations: int) -> float:
    """Return the milliseconds until a cut session is whole again."""
    client = await Client.open(url)
    session = await client.request("connect")
    cursors = {}
    for _ in range(conversations):
        made = await client.request("create_conversation")
        name = made["conversation_id"]
        cursors[name] = made["position"]
        for number in range(MISSED_EVENTS):
            await client.request(
                "send_message",
                conversation_id=name,
                client_message_id=f"m{number}",
                content="a message of an ordinary length, as people write them",
                agent=None,
            )
    client.cut()
    began = time.perf_counter()
    again = await Client.open(url)
    asked = {"session_id": session["session_id"], "resume_token": session["resume_token"]}
    ready = await again.request("connect", **asked, cursors=cursors)
    if not ready["resumed"]:
        raise RuntimeError(f"the session was not resumed: {ready}")
    if cursors:
        await again.read(lambda message: message["type"] == "live")
    took_ms = (time.perf_counter() - began) * 1000
    again.cut()
    return took_ms


async def repeat(
    measure: Callable[[str], Awaitable[float]], url: str, *, count: int, concurrency: int
) -> list[float]:
    """Measure so often, so many at a time."""
    allowed = asyncio.Semaphore(concurrency)

    async def one() -> float:
        async with allowed:
            return await measure(url)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(), name=f"connection {n}") for n in range(count)]
    return [task.result() for task in tasks]


async def measure_all(url: str, *, connections: int, concurrency: int) -> dict[str, list[float]]:
    """Return the milliseconds of every connection, by what was measured."""
    measures: dict[str, Callable[[str], Awaitable[float]]] = {
        "connect": time_connect,
        "restore, 1 conversation": lambda to: time_restore(to, 1),
        "restore, 10 conversations": lambda to: time_restore(to, 10),
    }
    await repeat(time_connect, url, count=20, concurrency=concurrency)  # warm up
    return {
        name: await repeat(measure, url, count=connections, concurrency=concurrency)
        for name, measure in measures.items()
    }


@contextlib.asynccontextmanager
async def own_gateway() -> AsyncIterator[str]:
    """Run a gateway with an embedded server; yield its address with a token."""
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        environment = {name: v for name, v in os.environ.items() if not name.startswith("GATEWAY_")}
        limits = {"REQUESTS_PER_S": "1e6", "SUBJECT_REQUESTS_PER_S": "1e6"}
        limits |= {"REQUESTS_BURST": "1000000", "SUBJECT_REQUESTS_BURST": "1000000"}
        limits |= {"MAX_CONNECTIONS_PER_SUBJECT": "10000"}
        own = {"JWT_SECRET": SECRET, "DATA_DIR": folder, "LOG_LEVEL": "warning"} | limits
        process = subprocess.Popen(  # noqa: ASYNC220  # started once, before anything is timed
            [sys.executable, "-m", "gateway", "serve", "--port", "0"],
            cwd=ROOT,
            env=environment | {f"GATEWAY_{name}": value for name, value in own.items()},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield await asyncio.to_thread(_address, process)
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, START_S)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None  # noqa: S101  # it was asked for
    for line in process.stdout:
        if line.startswith("listening on http://"):
            claims = {"sub": "benchmark", "exp": time.time() + 3600}
            token = jwt.encode(claims, SECRET, algorithm="HS256")
            return f"ws://{line.removeprefix('listening on http://').strip()}/ws?token={token}"
    raise RuntimeError("the gateway ended before it listened")


def percentiles(times_ms: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    p99 = statistics.quantiles(times_ms, n=100, method="inclusive")[98]
    return {"p50_ms": round(statistics.median(times_ms), 2), "p99_ms": round(p99, 2)}


async def run(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Measure at the gateway that was named, or at one of our own."""
    async with contextlib.AsyncExitStack() as stack:
        url = arguments.url or await stack.enter_async_context(own_gateway())
        times = await measure_all(
            url, connections=arguments.connections, concurrency=arguments.concurrency
        )
    return {name: percentiles(times_ms) for name, times_ms in times.items()}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.connect",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--connections", type=int, default=200, help="of each kind (200)")
    made.add_argument("--concurrency", type=int, default=1, help="at a time (1)")
    made.add_argument("--url", help="of a running gateway, with its token; none: one of our own")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return made


def main() -> None:
    """Measure, and print a table."""
    arguments = parser().parse_args()
    if arguments.connections < 2:  # noqa: PLR2004  # percentiles need two
        parser().error("--connections must be 2 or more")
    results = asyncio.run(run(arguments))
    print(f"{arguments.connections} of each, {arguments.concurrency} at a time")
    print(f"{'':<28}{'p50 ms':>10}{'p99 ms':>10}")
    for name, numbers in results.items():
        print(f"{name:<28}{numbers['p50_ms']:>10.2f}{numbers['p99_ms']:>10.2f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
