"""Measure the gateway and its peers on the same work, in the same run, interleaved.

The server's processes are pinned to the first core, the load generator to the last; so is Redis,
unless the machine has more than two. Progress goes to stderr, the table to stdout.

    python -m benchmarks                      everything, for publishing
    python -m benchmarks --scale quick        one round of everything
    python -m benchmarks --scale smoke        a little of everything; fails if anything was lost
    python -m benchmarks report FILE          write docs/performance.md's table and plots anew
    python -m benchmarks ceiling              how much the generator itself can take
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks import machine
from benchmarks.generator.ceiling import ceiling
from benchmarks.report.page import write_page
from benchmarks.report.table import text_table
from benchmarks.runner import Runner
from benchmarks.systems.gateway import Gateway, has_workers
from benchmarks.systems.set_up import PEERS
from benchmarks.workloads.entry import Entry
from benchmarks.workloads.every import workloads
from benchmarks.workloads.scale import SCALES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.systems.base import System
    from benchmarks.workloads.scale import Scale
    from benchmarks.workloads.workload import Workload

Keyed = TypeVar("Keyed", bound="System | Workload")
LEFT_OUT = {
    "Centrifugo": "PyPI and npm carry clients only; of its library, Centrifuge, Debian 12 has "
    "0.15 (2021) without two packages it imports (sockjs-go, redisc), so it does not build there",
}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("command", nargs="?", choices=("run", "report", "ceiling"), default="run")
    made.add_argument("file", nargs="?", type=Path, help="results to report")
    made.add_argument("--scale", choices=SCALES, default="full")
    made.add_argument("--quick", dest="scale", action="store_const", const="quick")
    made.add_argument("--only", metavar="WORKLOADS", help="comma-separated")
    made.add_argument("--systems", metavar="KEYS", help="comma-separated")
    made.add_argument("--rounds", type=int, help="instead of the scale's")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there")
    return made


def main() -> int:
    """Measure, or report what was measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended
    arguments = parser().parse_args()
    if arguments.command == "ceiling":
        print(ceiling())
        return 0
    if arguments.command == "report":
        if arguments.file is None:
            parser().error("report needs a FILE")
        write_page(json.loads(arguments.file.read_text()))
        return 0
    return _measure(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    scale = SCALES[arguments.scale]
    scale = replace(scale, rounds=arguments.rounds or scale.rounds)
    is_short = arguments.scale == "smoke"
    known: list[System] = [Gateway(), *(peer() for peer in PEERS)]
    systems, left_out = _available(_named(known, arguments.systems))
    runner, most = Runner(scale), "" if is_short else ceiling()
    for workload in _named(workloads(is_short=is_short), arguments.only):
        runner.run(workload, _entries(workload, systems, scale), rounds=scale.rounds)
    results = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "scale": arguments.scale,
        "machine": machine.facts(),
        "versions": {one.name: one.versions() for one in systems},
        "left_out": left_out,
        "ceiling": most,
        "rounds": runner.results(),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(text_table(results))
    own = [one for one in runner.rounds if one.entry.startswith(Gateway.name)]
    return int(is_short and any(one.problem or one.faults for one in own))


def _named(known: Sequence[Keyed], names: str | None) -> list[Keyed]:
    """Those that the command line names; all of them if it names none."""
    wanted = None if names is None else names.split(",")
    unknown = set(wanted or ()) - {one.key for one in known}
    if unknown:
        parser().error(f"there is no {unknown}; there are {[one.key for one in known]}")
    return [one for one in known if wanted is None or one.key in wanted]


def _available(systems: Sequence[System]) -> tuple[list[System], dict[str, str]]:
    left_out = dict(LEFT_OUT)
    for one in systems:
        why = one.why_unavailable()
        if why is not None:
            left_out[one.name] = why
            print(f"left out: {one.name}: {why}", file=sys.stderr)
    return [one for one in systems if one.name not in left_out], left_out


def _entries(workload: Workload, systems: Sequence[System], scale: Scale) -> list[Entry]:
    entries = [made for one in systems for made in workload.entries(Entry(one), scale)]
    if workload.uses_workers and scale.has_variants and has_workers():
        entries += [replace(one, workers=2) for one in entries if not one.system.is_peer]
    return entries


if __name__ == "__main__":
    sys.exit(main())
