"""Measure the gateway and its peers: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.runner import Runner, available
from benchmarks.systems.gateway import Gateway
from benchmarks.workloads.entry import Entry
from benchmarks.workloads.fanout import Fanout
from benchmarks.workloads.scale import FULL, QUICK, SMOKE

SCALES = {"full": FULL, "quick": QUICK, "smoke": SMOKE}
WORKLOADS = [Fanout()]
SYSTEMS = [Gateway()]


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    made.add_argument("--scale", choices=SCALES, default="full")
    made.add_argument("--only", help="workloads, comma-separated")
    made.add_argument("--systems", help="comma-separated")
    made.add_argument("--rounds", type=int)
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def main() -> None:
    """Run."""
    arguments = parser().parse_args()
    scale = SCALES[arguments.scale]
    systems, missing = available(
        [one for one in SYSTEMS if not arguments.systems or one.key in arguments.systems.split(",")]
    )
    runner = Runner(scale)
    for workload in WORKLOADS:
        if not arguments.only or workload.key in arguments.only.split(","):
            entries = [entry for one in systems for entry in workload.entries(Entry(one))]
            runner.run(workload, entries, rounds=arguments.rounds or scale.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps({"missing": missing, "rounds": runner.results()}))


if __name__ == "__main__":
    main()
