"""What a message costs Redis and the gateway as replicas are added.

    python -m benchmarks.micro_replicas [--replicas N,N] [--per-s N] [--seconds N] [--json FILE]

It starts a Redis and so many replicas on one core, and publishes at a fixed rate over 20 rooms, a
rate at which hardly any messages are joined. For each it prints microseconds of CPU time by
message, of Redis and of all replicas together, in rooms

with a listener at each replica   so that every replica hears every message
with one listener                 so that the other replicas have nothing to do with the room

and, for comparison, with as many listeners at a single replica. CPU time is what /proc tells, in
steps of 10 ms: with fewer than some thousand messages the last digit means nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generator.engine import Engine
from benchmarks.generator.load import Load, Shape
from benchmarks.generator.pace import Pace
from benchmarks.generator.usage import Meter
from benchmarks.systems.gateway import Gateway
from benchmarks.workloads.entry import Entry
from benchmarks.workloads.stage import staged

if TYPE_CHECKING:
    from benchmarks.workloads.stage import Stage

ROOMS = 20
WARM_UP_S = 1.0
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU time by message."""

    redis_us: float
    gateway_us: float


def cost_of(stage: Stage, listeners: int, *, per_s: float, seconds: float) -> Cost:
    """Publish for a while; return what each message cost.

    Raises:
        RuntimeError: a message was lost, doubled or came out of order.
        TooSlow: it does not keep up.
    """
    with Engine() as engine:
        load = Load(engine, stage.system, Shape(ROOMS, listeners))
        pace = Pace(engine, load.publishers, per_s, behind_s=PATIENCE_S)
        pace.start()
        engine.run_for(WARM_UP_S)
        before, meter = load.acknowledged, Meter(stage.system.pids, stage.redis.pids)
        began = time.monotonic()
        engine.run_for(seconds)
        engine.run_until(
            lambda: load.acknowledged > before, within_s=PATIENCE_S, what="a message is accepted"
        )
        took_s, shares = time.monotonic() - began, meter.shares()
        messages = load.acknowledged - before
        pace.stop()
        load.drain(PATIENCE_S)
        if faults := {name: count for name, count in load.faults().items() if count}:
            raise RuntimeError(f"{listeners} listeners: {faults}")
    by_message = took_s * 1e6 / messages
    return Cost(round(shares.redis * by_message, 1), round(shares.server * by_message, 1))


def measured(replicas: int, *, per_s: float, seconds: float) -> dict[str, Cost]:
    """Return the costs with so many replicas, by where the listeners are."""
    found = {}
    entry = Entry(Gateway())
    for where, listeners, of in (
        ("a listener at each", replicas, replicas),
        ("one listener", 1, replicas),
        ("all at a single replica", replicas, 1),
    ):
        with staged(entry, replicas=of) as stage:
            found[where] = cost_of(stage, listeners, per_s=per_s, seconds=seconds)
    return found


def main() -> None:
    """Measure, print a line for each number of replicas, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro_replicas",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--replicas",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[1, 2, 4, 8],
        help="so many at a time (1,2,4,8)",
    )
    parser.add_argument("--per-s", type=float, default=1000.0, help="messages a second (1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    chosen = parser.parse_args()
    found: dict[int, dict[str, Cost]] = {}
    print("µs of CPU by message, Redis + all replicas")
    for replicas in chosen.replicas:
        costs = measured(replicas, per_s=chosen.per_s, seconds=chosen.seconds)
        if not found:
            print(f"{'replicas':<10}" + "".join(f"{where:>26}" for where in costs))
        found[replicas] = costs
        cells = "".join(f"{one.redis_us:>16.1f} +{one.gateway_us:>8.1f}" for one in costs.values())
        print(f"{replicas:<10}{cells}", flush=True)
    if chosen.json is not None:
        plain = {n: {where: asdict(one) for where, one in c.items()} for n, c in found.items()}
        chosen.json.write_text(json.dumps(plain, indent=2) + "\n")


if __name__ == "__main__":
    main()
