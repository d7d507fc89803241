"""`python -m tests.model` says what it found, and how."""

import subprocess
import sys


def model(*words):
    """Run the command."""
    command = [sys.executable, "-m", "tests.model", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_fault_is_told_step_by_step():
    """The trace numbers its steps, shows what each client holds, and ends with the fault."""
    done = model("--rules", "old", "--scenario", "killed")

    assert done.returncode == 1
    assert "  3. A is killed\n" in done.stdout
    assert "client 0 at gateway 1, live: holds ab up to A1.1:2" in done.stdout
    assert "=> client 0 silently holds ab, the history is ac" in done.stdout


def test_search_that_finds_nothing_tells_how_many_states_it_saw():
    """Its exit status is 0."""
    done = model("--scenario", "both_sides", "--scenario", "abandoned")

    assert done.returncode == 0
    assert done.stdout.count("nothing found in ") == 2
