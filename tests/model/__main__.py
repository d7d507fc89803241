"""`python -m tests.model`: search by hand, and see the trace of what is found."""

from __future__ import annotations

import argparse
import sys
from time import monotonic

from tests.model import rules, scenarios
from tests.model.search import Search
from tests.model.trace import lines


def main() -> int:
    """Search each world in turn; stops at the first fault. Returns 1 if one is found."""
    options = _parse()
    wanted = [scenarios.BY_NAME[name] for name in options.scenario] or scenarios.ALL
    for scenario in wanted:
        began = monotonic()
        start = scenario.start(is_large=options.bounds == "large")
        _say(f"{scenario.name}: {scenario.why}")
        what = rules.BY_NAME[options.rules]
        found = Search(what, start, checks_names=what is rules.NEW).run()
        took = f"in {found.states} states, {monotonic() - began:.1f} s"
        if found.fault is not None:
            _say(*lines(found), f"found {took}")
            return 1
        _say(f"  nothing found {took}")
    return 0


def _parse() -> argparse.Namespace:
    told = "\n".join(f"  {one.name:18} {one.why}" for one in rules.BY_NAME.values())
    worlds = "\n".join(f"  {one.name:18} {one.why}" for one in scenarios.ALL)
    parser = argparse.ArgumentParser(
        prog="python -m tests.model",
        description=f"Search the model of the log.\n\nrules:\n{told}\n\nscenarios:\n{worlds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rules", choices=rules.BY_NAME, default="new", metavar="NAME")
    parser.add_argument(
        "--scenario",
        choices=scenarios.BY_NAME,
        action="append",
        default=[],
        metavar="NAME",
        help="may be repeated; all of them otherwise",
    )
    parser.add_argument("--bounds", choices=("small", "large"), default="small")
    return parser.parse_args()


def _say(*texts: str) -> None:
    sys.stdout.write("\n".join(texts) + "\n")


if __name__ == "__main__":
    sys.exit(main())
