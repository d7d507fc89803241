"""What a message costs Redis and the gateway as replicas are added.

    python -m benchmarks.micro_replicas [--replicas N,N] [--per-s N] [--seconds N] [--json FILE]

It starts a Redis and so many replicas on one core, and publishes at a fixed rate into 20 rooms,
always at the first replica; at that rate hardly any messages are joined. For each it prints
microseconds of CPU time by message, of Redis and of all replicas together, in rooms

a listener at each       so that every replica hears every message
one listener             the publisher itself: the other replicas have nothing to do with the room
all at a single replica  as many listeners as at first, and no other replica

What they use when nothing is published, told too, is taken off. CPU time is what /proc tells, in
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
from benchmarks.systems.gateway import Gateway
from benchmarks.workloads.entry import Entry
from benchmarks.workloads.stage import staged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.workloads.stage import Stage

ROOMS = 20
WARM_UP_S = 1.0
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Shares of a core, for each replica, when nothing is published."""

    redis: float
    gateway: float

    def __str__(self) -> str:
        return f"{self.redis:.2%} + {self.gateway:.2%}"


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU time by message, more than `idle` takes."""

    redis_us: float
    gateway_us: float
    idle: Idle


class FirstOfReplicas(Gateway):
    """Replicas of which clients know the first only."""

    @property
    def ports(self) -> Sequence[int]:
        """Its port."""
        return super().ports[:1]


def idle_on(stage: Stage, replicas: int, *, seconds: float) -> Idle:
    """Do nothing for a while; return what that takes."""
    time.sleep(WARM_UP_S)
    meter = stage.meter()
    time.sleep(seconds)
    shares = meter.shares()
    return Idle(shares.redis / replicas, shares.server / replicas)


def cost_of(
    stage: Stage, listeners: int, idle: Idle, replicas: int, *, per_s: float, seconds: float
) -> Cost:
    """Publish for a while; return what each message cost, more than doing nothing does.

    Raises:
        RuntimeError: a message was lost, doubled or came out of order.
        TooSlow: it does not keep up.
    """
    with Engine() as engine:
        load = Load(engine, stage.system, Shape(ROOMS, listeners))
        pace = Pace(engine, load.publishers, per_s, behind_s=PATIENCE_S)
        pace.start()
        engine.run_for(WARM_UP_S)
        before, meter = load.acknowledged, stage.meter()
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
    return Cost(
        round((shares.redis - idle.redis * replicas) * by_message, 1),
        round((shares.server - idle.gateway * replicas) * by_message, 1),
        idle,
    )


def measured(replicas: int, *, per_s: float, seconds: float) -> dict[str, Cost]:
    """Return the costs with so many replicas, by where the listeners are."""
    found = {}
    for where, system, listeners, of in (
        ("a listener at each", Gateway(), replicas, replicas),
        ("one listener", FirstOfReplicas(), 1, replicas),
        ("all at a single replica", Gateway(), replicas, 1),
    ):
        with staged(Entry(system), replicas=of) as stage:
            idle = idle_on(stage, of, seconds=seconds)
            found[where] = cost_of(stage, listeners, idle, of, per_s=per_s, seconds=seconds)
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
    print("µs of CPU by message, Redis + all replicas; when idle, of a core for each replica")
    for replicas in chosen.replicas:
        costs = measured(replicas, per_s=chosen.per_s, seconds=chosen.seconds)
        if not found:
            print(
                f"{'replicas':<10}" + "".join(f"{where:>24}" for where in costs) + f"{'idle':>18}"
            )
        found[replicas] = costs
        cells = "".join(f"{one.redis_us:>14.1f} +{one.gateway_us:>8.1f}" for one in costs.values())
        print(f"{replicas:<10}{cells}{costs['one listener'].idle!s:>18}", flush=True)
    if chosen.json is not None:
        plain = {n: {where: asdict(one) for where, one in c.items()} for n, c in found.items()}
        chosen.json.write_text(json.dumps(plain, indent=2) + "\n")


if __name__ == "__main__":
    main()
