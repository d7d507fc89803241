"""What a WebSocket costs at the transport alone: an echo, a handshake, an idle connection.

    python -m benchmarks.micro_transport [--connections N] [--seconds S] [--idle N] [--json FILE]

Each class serves an application that only echoes, in a process of its own on the first core; the
generator has the second one. Classes:

handed over   the gateway's own class, with a receiver in the application's place
fast          the same class, with an ASGI application
uvicorn       uvicorn's class with the gateway's limits
picows        a server in Cython, if the package is installed: for comparison

What is told of each: messages of 128 bytes a second, one on the way on each connection, and the
server's CPU time for one; handshakes a second and the CPU time for one; and how much the server's
resident memory grows for one connection on which nothing happens. Rounds of all classes are
interleaved, and medians are told.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import uvloop

from gateway.protocol.frames import binary_frame, text_frame
from gateway.settings import Settings
from gateway.transport import GatewayServer, direct_control_of, uvicorn_config

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PAYLOAD_BYTES = 128
MASK = b"mask"
PAYLOAD = bytes(b ^ MASK[n % 4] for n, b in enumerate(b"x" * PAYLOAD_BYTES))
MESSAGE = bytes((0x81, 0xFE)) + struct.pack("!H", PAYLOAD_BYTES) + MASK + PAYLOAD
ECHO_BYTES = len(text_frame(b"x" * PAYLOAD_BYTES))
UPGRADE = (
    b"GET /echo?token=" + b"t" * 200 + b" HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nOrigin: https://app.example.com\r\nUser-Agent: a browser\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # leaves no socket in TIME_WAIT
HANDSHAKES_AT_ONCE = 50
SETTLE_S = 0.5
CLASSES = ("handed over", "fast", "uvicorn", "picows")


# --- the servers ---


class Echo:
    """A receiver that echoes."""

    __slots__ = ("_control",)

    def __init__(self, control: Any) -> None:
        self._control = control

    def message(self, data: str | bytes) -> None:
        """Send it back."""
        control = self._control
        control.write(text_frame(data.encode()) if isinstance(data, str) else binary_frame(data))

    def other_frames(self, count: int) -> None:
        """Do nothing: what it costs is measured without limits."""

    def writing_resumed(self) -> None:
        """Do nothing: nothing waits here."""

    def writing_stalled(self) -> None:
        """Do nothing: the connection is cut."""

    def ended(self) -> None:
        """Let go of the connection."""
        self._control = None


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Serve as an ASGI application."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def echo_handed_over(scope: Any, receive: Any, send: Any) -> None:
    """Serve, and leave as soon as there is a receiver."""
    control = direct_control_of(scope)
    if control is None:
        await echo(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    control.hand_over(Echo(control))


async def serve_picows() -> None:
    """Serve with picows."""
    picows = importlib.import_module("picows")

    class Listener(picows.WSListener):  # type: ignore[name-defined, misc]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    server = await picows.ws_create_server(lambda _: Listener(), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve(name: str) -> None:
    """Serve one class until the process is told to stop; print the port."""
    if name == "picows":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve_picows())
        return
    settings = Settings(
        port=0,
        max_connections=15_000,  # more than are opened; fewer than 20,000 files allow
        transport="uvicorn" if name == "uvicorn" else "fast",
        drain_window_s=0.0,
        drain_timeout_s=0.1,
    )
    app = echo_handed_over if name == "handed over" else echo
    server = GatewayServer(
        uvicorn_config(app, settings), on_listening=lambda _, port: print(port, flush=True)
    )
    server.run()


@contextlib.contextmanager
def running(name: str, core: int) -> Iterator[tuple[psutil.Process, int]]:
    """Run a server pinned to a core; yield its process and port."""
    command = [sys.executable, "-m", "benchmarks.micro_transport", "--serve", name]
    with subprocess.Popen(  # noqa: S603  # this module itself
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101  # it was asked for
            measured = psutil.Process(process.pid)
            measured.cpu_affinity([core])
            port = process.stdout.readline()
            if not port:
                raise RuntimeError(f"the server of `{name}` did not start")
            yield measured, int(port)
        finally:
            process.kill()


# --- the generator ---


class Client(asyncio.Protocol):
    """A connection that sends a message whenever one has come back; None: only the handshake."""

    def __init__(self, counted: list[int] | None = None) -> None:
        self.opened = asyncio.get_running_loop().create_future()
        self._counted = counted
        self._received_bytes = 0
        self._is_open = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """Ask for a WebSocket."""
        self.transport = transport
        linger = (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        transport.get_extra_info("socket").setsockopt(*linger)
        transport.write(UPGRADE)

    def data_received(self, data: bytes) -> None:
        """Count what came back, and send again."""
        if not self._is_open:
            self._is_open = True
            self.opened.set_result(data)
            return
        self._received_bytes += len(data)
        if self._received_bytes >= ECHO_BYTES:
            self._received_bytes -= ECHO_BYTES
            if self._counted is not None:
                self._counted[0] += 1
                self.transport.write(MESSAGE)

    def begin(self) -> None:
        """Send the first message."""
        self.transport.write(MESSAGE)


async def opened(port: int, counted: list[int] | None = None) -> Client:
    """Open a WebSocket."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(counted), "127.0.0.1", port)
    answer = await client.opened
    if not answer.startswith(b"HTTP/1.1 101"):
        raise RuntimeError(answer)
    return client


def cpu_s(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def echoes(
    process: psutil.Process, port: int, *, connections: int, seconds: float
) -> dict[str, float]:
    """Return messages a second, and the server's CPU microseconds for one."""
    counted = [0]
    clients = [await opened(port, counted) for _ in range(connections)]
    for client in clients:
        client.begin()
    await asyncio.sleep(SETTLE_S)
    before, used, began = counted[0], cpu_s(process), time.perf_counter()
    while counted[0] == before or time.perf_counter() - began < seconds:  # noqa: ASYNC110  # once
        await asyncio.sleep(seconds)
    messages, took_s = counted[0] - before, time.perf_counter() - began
    used_s = cpu_s(process) - used
    for client in clients:
        client.transport.abort()
    return {"messages/s": messages / took_s, "µs a message": used_s / messages * 1e6}


async def handshakes(process: psutil.Process, port: int, *, seconds: float) -> dict[str, float]:
    """Return handshakes a second, and the server's CPU microseconds for one, TCP and end too."""
    count, used, began = 0, cpu_s(process), time.perf_counter()

    async def open_and_cut() -> None:
        nonlocal count
        while time.perf_counter() - began < seconds:
            client = await opened(port)
            client.transport.abort()
            count += 1

    async with asyncio.TaskGroup() as group:
        for number in range(HANDSHAKES_AT_ONCE):
            group.create_task(open_and_cut(), name=f"handshakes {number}")
    took_s, used_s = time.perf_counter() - began, cpu_s(process) - used
    return {"handshakes/s": count / took_s, "µs a handshake": used_s / count * 1e6}


async def idle(process: psutil.Process, port: int, *, connections: int) -> dict[str, float]:
    """Return the KiB of resident memory of a connection on which nothing happens."""
    warm = [await opened(port) for _ in range(20)]
    before = process.memory_info().rss
    clients = [await opened(port) for _ in range(connections)]
    await asyncio.sleep(SETTLE_S)
    grown = process.memory_info().rss - before
    for client in warm + clients:
        client.transport.abort()
    return {"KiB idle": grown / connections / 1024}


async def measure(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Measure one class, once. Memory comes first, in a process that has held nothing yet."""
    first, *_, last = sorted(os.sched_getaffinity(0))
    with running(name, first) as (process, port):
        os.sched_setaffinity(0, {last})
        try:
            results = await idle(process, port, connections=arguments.idle)
            results |= await handshakes(process, port, seconds=arguments.seconds)
            results |= await echoes(
                process, port, connections=arguments.connections, seconds=arguments.seconds
            )
        finally:
            os.sched_setaffinity(0, {first, last})
    return results


def allow_sockets(count: int) -> None:
    """Raise this process's limit of open files as far as is needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.micro_transport",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--connections", type=int, default=100, help="that echo (100)")
    made.add_argument("--seconds", type=float, default=2.0, help="of each measurement (2)")
    made.add_argument("--idle", type=int, default=2000, help="connections that do nothing (2000)")
    made.add_argument("--rounds", type=int, default=1, help="of all classes (1)")
    made.add_argument(
        "--only", action="append", choices=CLASSES, help="this class; may be repeated"
    )
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    made.add_argument("--serve", choices=CLASSES, help=argparse.SUPPRESS)
    return made


def main() -> None:
    """Measure, and print a table; or be one of the servers."""
    arguments = parser().parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    allow_sockets(arguments.idle + arguments.connections + 100)
    names = [name for name in arguments.only or CLASSES if name != "picows" or has_picows()]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                rounds[name].append(runner.run(measure(name, arguments)))
    results = {name: medians(found) for name, found in rounds.items()}
    print(f"{'':<12}" + "".join(f"{column:>16}" for column in results[names[0]]))
    for name, numbers in results.items():
        print(f"{name:<12}" + "".join(f"{number:>16.1f}" for number in numbers.values()))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def has_picows() -> bool:
    """Whether picows is there; if not, say that it is left out."""
    found = importlib.util.find_spec("picows") is not None
    if not found:
        print("picows is left out: it is not installed")
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each number."""
    return {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}


if __name__ == "__main__":
    main()
