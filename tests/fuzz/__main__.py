"""Fuzz until a time is over, each round with another seed: `python -m tests.fuzz --help`."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.budget import EXAMPLES

FOLDER = Path(__file__).parent
ROUND_EXAMPLES = 2_000  # a property, a round; a minute for all of them
PREFIX = "test_"


def targets() -> list[str]:
    """The names of what can be fuzzed."""
    found = {path.stem.removeprefix(PREFIX) for path in FOLDER.glob(f"{PREFIX}*.py")}
    return sorted(found - {"command"})  # this module's own tests


def one_round(names: list[str], examples: int) -> int:
    """Run the targets once; return pytest's exit code."""
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}, {examples} inputs a property: {', '.join(names)}", flush=True)
    files = [str(FOLDER / f"{PREFIX}{name}.py") for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--timeout", "0"]
    environment = os.environ | {EXAMPLES: str(examples)}
    done = subprocess.run(
        [*command, f"--hypothesis-seed={seed}", *files], env=environment, check=False
    )
    return done.returncode


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Fuzz what takes bytes from outside. What fails is kept in .hypothesis, and "
        "tried first from then on, also by `make test`.",
    )
    parser.add_argument("targets", nargs="*", help=f"some of: {', '.join(targets())} (all)")
    parser.add_argument("--seconds", type=float, default=60, help="begin no round after that (60)")
    parser.add_argument(
        "--examples",
        type=int,
        default=ROUND_EXAMPLES,
        help=f"inputs for each property in a round ({ROUND_EXAMPLES})",
    )
    given = parser.parse_args(arguments)
    if unknown := set(given.targets) - set(targets()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    end_s = time.monotonic() + given.seconds
    while True:
        if code := one_round(given.targets or targets(), given.examples):
            return code
        if time.monotonic() >= end_s:
            return 0


if __name__ == "__main__":
    sys.exit(main())
