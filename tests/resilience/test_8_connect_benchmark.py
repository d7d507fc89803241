"""8. The benchmark of connect and restore times runs; what it measures is not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.dialling import ws_url
from tests.support.gateways import ROOT
from tests.support.tokens import mint

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Replicas

COMMAND = [sys.executable, "-m", "benchmarks.connect"]
MEASURED = {"connect", "restore, 1 conversation", "restore, 10 conversations"}


def test_benchmark_prints_and_writes_its_numbers(
    replicas: Replicas, tenant: str, tmp_path: Path
) -> None:
    """Medians and 99th percentiles for connecting, and for sessions of 1 and 10 conversations."""
    file = tmp_path / "numbers.json"
    url = ws_url(replicas[0], token=mint("benchmark", tenant=tenant))
    words = ["--connections", "5", "--url", url, "--json", str(file)]
    done = subprocess.run(
        [*COMMAND, *words], cwd=ROOT, check=True, capture_output=True, text=True, timeout=50
    )
    numbers = json.loads(file.read_text())
    assert numbers.keys() == MEASURED
    for name, measured in numbers.items():
        assert name in done.stdout
        assert 0 < measured["p50_ms"] <= measured["p99_ms"]


def test_benchmark_explains_itself() -> None:
    """`--help` tells what is measured."""
    done = subprocess.run(
        [*COMMAND, "--help"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=50
    )
    assert "connect and to restore" in done.stdout.replace("\n", " ")
    assert "--connections" in done.stdout
