"""What one hostile user with a valid token does to everybody else.

    python -m benchmarks.abuse                     every attack, 5 s each
    python -m benchmarks.abuse --only room-bursts,readyz --seconds 10
    python -m benchmarks.abuse --list              what there is
    python -m benchmarks.abuse --shared            one gateway for all attacks: quicker

A gateway with default limits runs on the first core. On the last one are Redis, one attacker at
full speed, and the victim: another subject, who sends a `ping` each 10 ms, on time, whatever the
answers do. A line is told of each attack:

attempted    pieces of work asked for; what one is stands beside it
let through  of these, done; `refused` were answered with an error
closed       connections that the gateway ended
p50, p99     how long the victim's `ping` took
max          the longest; a ping whose connection was lost counts as 10 s
lost         how often the victim was disconnected; that must not be
RSS          memory of the gateway at its most, as a multiple of that before the attack

An attack is `held` if p99 stayed under 100 ms, memory under twice its idle value, and the victim
connected. Without an attacker (`nobody`) the same is measured first: what the machine itself adds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.attackers.every import EVERY
from benchmarks.attackers.victim import NAME as VICTIM
from benchmarks.generator.usage import rss_bytes
from benchmarks.systems.base import SECRET
from benchmarks.systems.processes import ServerProcess, free_port, pinned
from benchmarks.systems.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[1]
NOBODY = "nobody"
P99_MS, RSS_TIMES = 100.0, 2.0  # what an attack must stay under
LOOK_S = 0.02  # between looks at the gateway's memory
READY_S, END_S = 120.0, 60.0
SETTINGS = {
    "JWT_SECRET": SECRET,
    "LOG_LEVEL": "error",
    "AGENTS": "ask=benchmarks.attackers.bombs:ask",
}
HEAD = (
    "attack",
    "attempted",
    "",
    "let through",
    "refused",
    "closed",
    "p50",
    "p99",
    "max",
    "lost",
    "RSS",
    "",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one attack came to. Times are milliseconds, memory is bytes."""

    attack: str
    unit: str
    attempted: int
    let_through: int
    refused: int
    closed: int
    pings: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    lost: int
    idle_rss: int
    most_rss: int

    @property
    def rss_times(self) -> float:
        """How the memory grew."""
        return self.most_rss / max(1, self.idle_rss)

    @property
    def is_held(self) -> bool:
        """Whether others did not notice."""
        return self.p99_ms < P99_MS and self.rss_times < RSS_TIMES and not self.lost

    def cells(self) -> tuple[str, ...]:
        """As they are read."""
        return (
            self.attack,
            f"{self.attempted:,}",
            self.unit,
            f"{self.let_through:,}",
            f"{self.refused:,}",
            f"{self.closed:,}",
            f"{self.p50_ms:.1f} ms",
            f"{self.p99_ms:,.0f} ms",
            f"{self.max_ms:,.0f} ms",
            str(self.lost),
            f"{self.rss_times:.2f}",
            "held" if self.is_held else "NOT HELD",
        )


class Target:
    """A gateway with default limits on a Redis of its own; `stop` it."""

    def __init__(self, folder: Path, *, gateway_cores: Sequence[int], cores: Sequence[int]) -> None:
        self.port = free_port()
        self._redis = RedisServer(folder, cores=cores)
        clean = {name: v for name, v in os.environ.items() if not name.startswith("GATEWAY_")}
        own = SETTINGS | {"REDIS_URL": self._redis.address.url}
        self._gateway = ServerProcess(
            [sys.executable, "-m", "gateway", "serve", "--port", str(self.port)],
            cores=gateway_cores,
            log=folder / "gateway.log",
            environment=clean | {f"GATEWAY_{name}": value for name, value in own.items()},
            folder=ROOT,
        )
        self._gateway.wait_until(lambda: "listening on" in self._gateway.output)

    @property
    def rss_bytes(self) -> int:
        """The gateway's memory."""
        return rss_bytes([self._gateway.pid])

    def stop(self) -> None:
        """End both."""
        self._gateway.kill()
        self._redis.stop()


class Party:
    """An attacker or the victim, in a process of its own."""

    def __init__(self, name: str, port: int, seconds: float, *, cores: Sequence[int]) -> None:
        words = ["-m", "benchmarks.attackers.process", name, str(port), str(seconds)]
        with pinned(cores):
            self._process = subprocess.Popen(  # noqa: S603  # a module of ours
                [sys.executable, *words],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self._name = name

    def wait_until_ready(self) -> None:
        """Wait for its preparation."""
        if self._line() != "ready\n":
            raise RuntimeError(f"{self._name} could not be prepared; see above")

    def go(self) -> None:
        """Let it begin."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()

    @property
    def is_over(self) -> bool:
        """Whether its time is."""
        return self._process.poll() is not None

    def result(self) -> dict[str, float]:
        """What it tells at its end."""
        told: dict[str, float] = json.loads(self._line() or "{}")
        return told

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        stdout = self._process.stdout
        return "" if stdout is None else stdout.readline()


@contextmanager
def target_on(gateway_cores: Sequence[int], cores: Sequence[int]) -> Iterator[Target]:
    """Run a gateway and a Redis meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder), gateway_cores=gateway_cores, cores=cores)
        try:
            yield target
        finally:
            target.stop()


def measured(name: str, unit: str, target: Target, *, seconds: float, cores: Sequence[int]) -> Row:
    """Run one attack, and tell what the victim saw."""
    names = [VICTIM] if name == NOBODY else [VICTIM, name]
    with ExitStack() as stack:
        parties = []
        for one in names:
            party = Party(one, target.port, seconds, cores=cores)
            stack.callback(party.stop)
            parties.append(party)
        for party in parties:
            party.wait_until_ready()
        idle_rss = most_rss = target.rss_bytes
        for party in reversed(parties):
            party.go()
        end = time.monotonic() + seconds + END_S
        while not all(party.is_over for party in parties) and time.monotonic() < end:
            most_rss = max(most_rss, target.rss_bytes)
            time.sleep(LOOK_S)
        seen, *attacks = [party.result() for party in parties]
    came_to = attacks[0] if attacks else {}
    return Row(
        attack=name,
        unit=unit,
        attempted=int(came_to.get("attempted", 0)),
        let_through=int(came_to.get("let_through", 0)),
        refused=int(came_to.get("refused", 0)),
        closed=int(came_to.get("closed", 0)),
        pings=int(seen.get("pings", 0)),
        p50_ms=seen.get("p50_ms", 0.0),
        p99_ms=seen.get("p99_ms", 0.0),
        max_ms=seen.get("max_ms", 0.0),
        lost=int(seen.get("lost", 1)),
        idle_rss=idle_rss,
        most_rss=most_rss,
    )


def table(rows: Sequence[Row]) -> str:
    """All lines."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEAD))]
    left = {0, 2, len(HEAD) - 1}
    return "\n".join(
        "  ".join(
            f"{text:<{width}}" if n in left else f"{text:>{width}}"
            for n, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.abuse",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", metavar="ATTACKS", help="comma-separated")
    made.add_argument("--seconds", type=float, default=5.0, help="of each attack (5)")
    made.add_argument("--shared", action="store_true", help="one gateway for all attacks")
    made.add_argument("--list", action="store_true", help="tell what attacks there are")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return made


def main() -> int:
    """Attack; 1 if an attack was not held."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended
    chosen = parser().parse_args()
    if chosen.list:
        for one in EVERY:
            print(f"{one.name:<16}{(one.__doc__ or '').splitlines()[0]}")
        return 0
    units = {NOBODY: ""} | {one.name: one.unit for one in EVERY}
    names = list(units) if chosen.only is None else chosen.only.split(",")
    if unknown := set(names) - set(units):
        parser().error(f"there is no {', '.join(sorted(unknown))}; --list tells what there is")
    rows = _rows(names, units, seconds=chosen.seconds, is_shared=chosen.shared)
    print(table(rows))
    if chosen.json is not None:
        told = [asdict(row) | {"is_held": row.is_held} for row in rows]
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(not all(row.is_held for row in rows))


def _rows(
    names: Sequence[str], units: dict[str, str], *, seconds: float, is_shared: bool
) -> list[Row]:
    every = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gateway_cores, cores = every[:1], every[-1:]
    rows = []
    with ExitStack() as stack:
        shared = stack.enter_context(target_on(gateway_cores, cores)) if is_shared else None
        for name in names:
            print(f"{name} …", end=" ", file=sys.stderr, flush=True)
            with ExitStack() as own:
                target = shared or own.enter_context(target_on(gateway_cores, cores))
                row = measured(name, units[name], target, seconds=seconds, cores=cores)
            print(f"p99 {row.p99_ms:,.0f} ms, {row.cells()[-1]}", file=sys.stderr)
            rows.append(row)
    return rows


if __name__ == "__main__":
    sys.exit(main())
