"""(b) How many clients a second can connect: TCP, upgrade, token verified, session ready.

No room is joined, but at Nchan, where a connection is one to a room. No two tokens are the same.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.generator.client import Client
from benchmarks.generator.engine import Engine
from benchmarks.generator.load import join
from benchmarks.generator.tokens import mint
from benchmarks.systems.base import Seat, subject
from benchmarks.workloads.stage import staged
from benchmarks.workloads.statistics import percentile
from benchmarks.workloads.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.systems.base import System
    from benchmarks.workloads.entry import Entry
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.stage import Stage
    from benchmarks.workloads.workload import Numbers

CONNECTIONS = 2000
WARM_UP = 50
CASE = "connects"


class Connects(Workload):
    """Everybody at once, as many on the way as an engine dials at a time."""

    key = "connects"

    budget_s = 15.0
    uses_workers = True

    def entries(self, one: Entry, scale: Scale) -> list[Entry]:
        """With authentication; without, where there is a choice."""
        return one.with_and_without_auth(has_variants=scale.has_variants)

    def measure(self, entry: Entry, scale: Scale) -> Iterator[tuple[str, Numbers | str]]:
        """One case."""
        with staged(entry) as stage:
            _connect(stage, range(WARM_UP))
            count = scale.count(CONNECTIONS)
            yield CASE, _connect(stage, range(WARM_UP, WARM_UP + count))


def _connect(stage: Stage, numbers: range) -> Numbers:
    system = stage.system
    with Engine() as engine:
        clients = [_client(engine, system, number) for number in numbers]
        times: dict[Client, float] = {}
        for client in clients:
            client.on_change = lambda one: _note(one, times)
        began, meter = time.monotonic(), stage.meter()
        join(engine, clients)
        passed, shares = time.monotonic() - began, meter.shares()
    return {
        "connects_per_s": len(clients) / passed,
        "p50_ms": percentile([*times.values()], 50) * 1000,
        "p99_ms": percentile([*times.values()], 99) * 1000,
        **shares.numbers(),
    }


def _note(client: Client, times: dict[Client, float]) -> None:
    if client.is_joined and client not in times:
        times[client] = time.monotonic() - client.dialled_at


def _client(engine: Engine, system: System, number: int) -> Client:
    rooms = (number,) if system.rooms_a_session == 1 else ()
    seat = Seat(number, rooms, is_first=True, mates=(number,), token=mint(subject(number)))
    port = system.ports[number % len(system.ports)]
    return Client(engine, system.session(seat, text_bytes=200), system.dialect, port)
