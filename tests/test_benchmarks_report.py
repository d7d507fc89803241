"""What the report says of a file of results: medians, ratios, and a page."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks.report.page import BEGIN, END, write_page
from benchmarks.report.results import Medians
from benchmarks.report.rows import ROWS, Row
from benchmarks.report.table import text_table

ROOT = Path(__file__).parent.parent
CASE = "100 rooms of 2, saturated"
STORM = "2000 clients, cold"


def results() -> dict:
    """Two rounds of the gateway, one of two peers, and a failure."""
    numbers = {
        ("fanout", CASE, "gateway"): [("deliveries_per_s", 80.0), ("deliveries_per_s", 120.0)],
        ("fanout", CASE, "Nchan"): [("deliveries_per_s", 20.0)],
        ("fanout", CASE, "Socket.IO"): [("deliveries_per_s", 10.0)],
        ("storm", STORM, "gateway"): [("total_s", 1.0)],
        ("storm", STORM, "Nchan"): [("total_s", 2.0)],
    }
    rounds = [
        {
            "workload": workload,
            "case": case,
            "entry": entry,
            "number": n,
            "numbers": {name: value},
            "problem": "",
        }
        for (workload, case, entry), pairs in numbers.items()
        for n, (name, value) in enumerate(pairs)
    ]
    rounds.append(rounds[-1] | {"entry": "Socket.IO", "numbers": {}, "problem": "none came back"})
    facts = {"processor": "P", "cores": "2", "memory": "1 GiB", "system": "S"}
    return {
        "measured_at": "2026-11-21T12:00:00+00:00",
        "machine": facts,
        "versions": {"gateway": {"Python": "3.11"}},
        "left_out": {"Centrifugo": "not here"},
        "rounds": rounds,
    }


def row(workload: str, case: str) -> Row:
    """The first row of a case."""
    return next(one for one in ROWS if (one.workload, one.case) == (workload, case))


def test_ratio_is_of_medians_to_the_best_peer():
    """More is better for deliveries, less for times; each target looks the right way."""
    medians = Medians(results())
    assert medians.of(row("fanout", CASE), "gateway") == 100.0
    assert medians.best_peer(row("fanout", CASE)) == ("Nchan", 20.0)
    assert medians.ratio(row("fanout", CASE)) == 5.0
    assert medians.is_met(row("fanout", CASE))
    assert medians.ratio(row("storm", STORM)) == 0.5
    assert medians.is_met(row("storm", STORM))


def test_table_has_a_line_for_what_was_measured_only():
    """The head, two lines of deliveries and storms each with its number."""
    lines = text_table(results()).splitlines()
    assert any(line.startswith("100 rooms of 2") and "met" in line for line in lines)
    assert not any("memory" in line for line in lines)


def test_page_is_written_between_its_markers(tmp_path):
    """What stands around them stays; failures and those left out are told; plots are XML."""
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}of the last run\n{END}\nafter\n")
    write_page(results(), page)
    write_page(results(), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "of the last run" not in text
    assert "Centrifugo: not here" in text
    assert "fanout: gateway 2, Nchan 1, Socket.IO 1" in text
    assert "Socket.IO, 2000 clients, cold: none came back" in text
    plots = list(tmp_path.glob("*.svg"))
    assert plots
    for plot in plots:
        assert f"]({plot.name})" in text
        assert ET.parse(plot).getroot().tag.endswith("svg")  # noqa: S314  # written just now


def test_page_of_the_project_has_its_markers():
    """docs/performance.md can be written anew."""
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)
