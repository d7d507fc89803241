"""The audit of the lock fails on a finding, and passes, saying so, where nobody can be asked."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools.check_advisories import LOCKS, ROOT, main

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}
ALL = ["stamp.one.txt", *LOCKS]  # the files it is asked about
SCRIPT = """#!{python}
import json, sys
name = sys.argv[sys.argv.index("--requirement") + 1].rpartition("/")[2]
print(name, file=open({asked!r}, "a"))
print({answer!r})
"""


@pytest.fixture
def audited(tmp_path: Path):
    """Run the check with a pip-audit that answers so; return its exit code, and what was asked."""
    for name in LOCKS:
        (tmp_path / name).write_text(
            "a==1 \\\n    --hash=sha256:00\nb==2 \\\n    --hash=sha256:00\n"
        )
    program, asked = tmp_path / "pip-audit", tmp_path / "asked"

    def run(answer: object, *arguments: str) -> tuple[int, list[str]]:
        text = answer if isinstance(answer, str) else json.dumps({"dependencies": answer})
        program.write_text(SCRIPT.format(python=sys.executable, asked=str(asked), answer=text))
        program.chmod(0o700)
        asked.write_text("")
        code = main(list(arguments), program, tmp_path, tmp_path / "stamp")
        return code, asked.read_text().split()

    return run


def test_a_finding_fails_and_is_named(audited, capsys: pytest.CaptureFixture[str]) -> None:
    """With the version that mends it; and again until it is mended."""
    for _ in range(2):
        assert audited([GOOD, BAD]) == (1, ALL)
        assert "b 2: PYSEC-1, mended in 2.1" in capsys.readouterr().err


def test_what_was_good_today_is_not_asked_again(
    audited, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that runs before every test must take no time."""
    assert audited([GOOD, UNKNOWN]) == (0, ALL)
    assert "not known there: c" in capsys.readouterr().out
    assert audited([GOOD, BAD]) == (0, [])


@pytest.mark.parametrize("answer", [[UNKNOWN], [], "Traceback", ""])
def test_without_an_answer_it_passes_and_says_why(
    audited, capsys: pytest.CaptureFixture[str], answer: object
) -> None:
    """One package is asked about, not all; `--required` makes it a failure."""
    assert audited(answer) == (0, ALL[:1])
    assert "not checked" in capsys.readouterr().out
    assert audited(answer, "--required") == (1, ALL[:1])


def test_without_the_program_it_passes_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before `make setup`."""
    for name in LOCKS:
        (tmp_path / name).write_text("a==1\n")
    assert main([], tmp_path / "none", tmp_path, tmp_path / "stamp") == 0
    assert "not checked" in capsys.readouterr().out


def test_the_locks_are_of_a_form_that_the_real_program_reads() -> None:
    """It reads all of both files: each package is answered or skipped by name."""
    program = ROOT / ".venv" / "audit" / "bin" / "pip-audit"
    if not program.is_file():
        pytest.skip("`make check` has not set up pip-audit")
    command = [program, "--dry-run", "--disable-pip", "--no-deps", "--progress-spinner=off"]
    for name in LOCKS:
        file = ROOT / "requirements" / name
        done = subprocess.run([*command, "-r", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "would have audited" in done.stderr
