"""Look whether a locked package has a fault that is known: pip-audit, once a day for one lock.

It asks PyPI's advisory service. Where that does not answer (an index that is a mirror, no network),
this says so and lets the check pass, unless it is `--required`. A finding always fails it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
LOCKS = ("dev.txt", "audit.txt")  # runtime.txt and build.txt are parts of the first
STAMP = ROOT / ".venv" / ".audited"
FIRST = re.compile(r"^([a-z0-9-]+==\S+)", flags=re.MULTILINE)
OPTIONS = ("--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json", "--timeout=10")
LIMIT_S = 300


class NotAnswered(Exception):
    """The advisory service was not reached."""


class Audit(NamedTuple):
    """What was found: faults, a line each, and packages that could not be looked up."""

    faults: list[str]
    skipped: list[str]


def audit(program: Path, file: Path) -> Audit:
    """Ask about all packages in a file.

    Raises:
        NotAnswered: nothing is known about any of them; says why.
    """
    done = subprocess.run(
        [str(program), *OPTIONS, "--requirement", str(file)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError as exc:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise NotAnswered(last[0] if last else f"exit status {done.returncode}") from exc
    skipped = [one["name"] for one in found if "skip_reason" in one]
    if len(skipped) == len(found):
        raise NotAnswered(found[0]["skip_reason"] if found else "it was asked about nothing")
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no version yet'}"
        for one in found
        for fault in one.get("vulns", ())
    ]
    return Audit(faults, skipped)


def check(program: Path, folder: Path, stamp: Path) -> Audit | None:
    """Ask about one package, and then about all; None if that was done today.

    Raises:
        NotAnswered: the service does not answer, or the program is not there.
    """
    files = [folder / name for name in LOCKS]
    texts = [file.read_text(encoding="utf-8") for file in files]
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    mark = f"{today} {hashlib.sha256(''.join(texts).encode()).hexdigest()}"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == mark:
        return None
    first = FIRST.search(texts[0])
    one = stamp.with_suffix(".one.txt")
    one.write_text(f"{first[1] if first else ''}\n", encoding="utf-8")
    try:
        audit(program, one)  # an index that does not know is not asked a hundred times
        parts = [audit(program, file) for file in files]
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotAnswered(str(exc)) from exc
    finally:
        one.unlink()
    found = Audit(*(sorted({line for part in parts for line in part[at]}) for at in range(2)))
    if not found.faults:
        stamp.write_text(mark, encoding="utf-8")
    return found


def main(
    arguments: list[str], program: Path = PROGRAM, folder: Path | None = None, stamp: Path = STAMP
) -> int:
    """Return the exit code: 0 if nothing is known, or nobody answers."""
    try:
        found = check(program, folder or ROOT / "requirements", stamp)
    except NotAnswered as exc:
        print(f"advisories: not checked, the advisory service does not answer: {exc}")
        return int("--required" in arguments)
    if found is None:
        print("advisories: good, as of today")
        return 0
    if found.faults:
        print("\n".join(f"advisories: {fault}" for fault in found.faults), file=sys.stderr)
        return 1
    rest = f"; not known there: {', '.join(found.skipped)}" if found.skipped else ""
    print(f"advisories: none for what is locked{rest}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
