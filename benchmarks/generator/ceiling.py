"""How many deliveries a second the generator itself can take, and what that costs it."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generator.client import Client
from benchmarks.generator.engine import Engine
from benchmarks.generator.load import join
from benchmarks.generator.room import Receiver, Room
from benchmarks.generator.usage import Meter
from benchmarks.systems.base import Dialect, Session
from benchmarks.systems.processes import ServerProcess, free_port, pinned
from benchmarks.workloads.stage import Placement

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[2]
RECEIVERS = 100
SECONDS = 2.0
LISTENS_S = 0.3


class BlastSession(Session):
    """It hears whatever comes."""

    def opening(self) -> bytes:
        """Anything that ends as a request does."""
        return b"GET / HTTP/1.1\r\n\r\n"

    def opened(self) -> Iterable[bytes]:
        """Say nothing."""
        self.is_joined = True
        return ()

    def received(self, message: bytes) -> Iterable[bytes]:  # noqa: ARG002  # the base says what it is
        """Ignore what came before all were there."""
        return ()

    def publishing(self, room: int) -> bytes:
        """It only hears."""
        raise NotImplementedError(room)

    def resumed(self) -> Session:
        """Nothing to go on from."""
        return BlastSession()


def ceiling() -> str:
    """Measure; a sentence."""
    place = Placement.of_machine()
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.generator.blast", str(port), str(RECEIVERS)]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        server = ServerProcess(command, cores=place.server, log=log, folder=ROOT)
        try:
            with pinned(place.generator), Engine() as engine:
                return _measured(engine, port, server)
        finally:
            server.kill()


def _measured(engine: Engine, port: int, server: ServerProcess) -> str:
    room = Room(0)
    clients = [Client(engine, BlastSession(), Dialect(b""), port) for _ in range(RECEIVERS)]
    for client in clients:
        client.on_raw = Receiver(room).take
    time.sleep(LISTENS_S)  # a probe would be one of its connections
    join(engine, clients)
    engine.run_for(0.5)
    meter, began = Meter([server.pid], []), time.monotonic()
    before = sum(one.delivered for one in room.receivers)
    engine.run_for(SECONDS)
    per_s = (sum(one.delivered for one in room.receivers) - before) / (time.monotonic() - began)
    shares = meter.shares()
    return (
        f"the generator took {per_s:,.0f} deliveries/s of a room of {RECEIVERS}, using "
        f"{shares.generator:.0%} of its core; the server that wrote them used {shares.server:.0%}"
    )
