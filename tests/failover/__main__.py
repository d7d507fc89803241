"""`python -m tests.failover`: play scenarios and print what came of them.

Each kind is a fault at real servers. The same kind and seed give the same servers, durability,
clients, load and faults; the times at which things happen are the machine's own.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import structlog

from tests.failover.evidence import KEPT, explained, judged_again, keep
from tests.failover.plan import DURABILITIES, KINDS, plan_of
from tests.failover.report import Report
from tests.failover.scenario import SETTLE_S, play, tell_nothing
from tests.support.network_namespace import NamespaceUnavailable

unretrieved: Counter[str] = Counter()


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.failover",
        description=__doc__,
        epilog="kinds: " + ", ".join(KINDS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seed", type=int, default=1, help="of the first run (1)")
    add("--runs", type=int, default=1, help="how many seeds of each kind (1)")
    add("--kind", action="append", choices=KINDS, metavar="KIND", help="again for more (all)")
    add("--durability", choices=DURABILITIES, help="instead of what the seed says")
    add("--replicas", type=int, choices=[1, 2], help="behind sentinels, instead of the seed's")
    add("--settle-s", type=float, default=SETTLE_S, help=f"for all to be told ({SETTLE_S:g})")
    add("--keep", type=Path, default=KEPT, help=f"folder for what failed ({KEPT})")
    add("--judge", type=Path, metavar="FILE", help="judge a kept scenario again, play nothing")
    add("--quiet", action="store_true", help="do not tell what is done meanwhile")
    return parser.parse_args(words)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _count_unretrieved(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Count exceptions that nobody looked at; of the gateways too, which run in our loop."""
    if "never retrieved" in context["message"]:
        unretrieved[repr(context.get("exception"))[:60]] += 1
    else:
        loop.default_exception_handler(context)


async def _campaign(given: argparse.Namespace) -> tuple[Report, int]:
    report, failed = Report(), 0
    asyncio.get_running_loop().set_exception_handler(_count_unretrieved)
    topology = {1: "sentinel", 2: "sentinel-2"}.get(given.replicas)
    for name in given.kind or KINDS:
        kind = KINDS[name]
        if given.durability is not None and given.durability not in kind.durabilities:
            continue
        for seed in range(given.seed, given.seed + given.runs):
            chosen = topology if topology in kind.topologies else None
            plan = plan_of(seed, kind, durability=given.durability, topology=chosen)
            _say(f"{name}, {plan}")
            try:
                failed += await _play(plan, given, report)
            except NamespaceUnavailable as exc:
                _say(f"skipped: {exc}")
    return report, failed


async def _play(plan, given: argparse.Namespace, report: Report) -> bool:
    """Play one scenario; return whether it failed."""
    began_at = time.monotonic()
    tell = tell_nothing if given.quiet else _say
    outcome = await play(plan, tell=tell, settle_s=given.settle_s)
    report.add(outcome)
    took = f"{outcome.accepted} accepted, {time.monotonic() - began_at:.0f} s"
    if not outcome.is_broken:
        _say(f"  good: {took}, all told {outcome.settled_s:.1f} s after the end")
        _say(f"  errors {dict(outcome.errors)}, sessions not resumed {dict(outcome.losses)}")
        return False
    _say(f"  FAILED: {took}\n{explained(outcome)}\n  kept in {keep(outcome, given.keep)}")
    return True


def main() -> int:
    """Run; the exit code says whether a promise was broken."""
    given = _arguments(sys.argv[1:])
    if given.judge is not None:
        faults = judged_again(given.judge).faults
        sys.stdout.write("".join(f"{fault}\n" for fault in faults) or "no fault\n")
        return 1 if faults else 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    report, failed = asyncio.run(_campaign(given))
    sys.stdout.write(f"{report}\n")
    if unretrieved:
        _say(f"exceptions never retrieved: {unretrieved.total()}: {unretrieved.most_common(5)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
