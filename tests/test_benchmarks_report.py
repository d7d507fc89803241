"""What the report says of a file of results: medians, ratios, and a page."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.report.page import BEGIN, END, measured, write_page
from benchmarks.report.results import STOLEN_MUCH, Medians
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


# what the host gave to others


def disturbed(rounds: list[tuple[float, float]]) -> dict:
    """Results in which the gateway's rounds of a case were so fast while so much was stolen."""
    made = copy.deepcopy(results())
    first = made["rounds"][0]
    made["rounds"] = [one for one in made["rounds"] if one["case"] != CASE]
    made["rounds"] += [
        first | {"number": n, "numbers": {"deliveries_per_s": value, "stolen_cpu": stolen}}
        for n, (value, stolen) in enumerate(rounds)
    ]
    return made


@pytest.mark.parametrize(
    ("rounds", "median", "left_out"),
    [
        ([(100, 0.0), (102, 0.1), (104, STOLEN_MUCH), (50, 0.2), (40, 0.4)], 102, 2),
        ([(100, 0.0), (102, 0.1), (104, 0.0), (106, 0.0), (10, 0.16)], 103, 1),
        ([(100, 0.0), (102, 0.1), (60, 0.3), (50, 0.2), (40, 0.4)], 100, 2),
        ([(60, 0.3), (50, 0.2), (40, 0.4), (30, 0.5)], 50, 1),
        ([(100, 0.0), (50, 0.9)], 75, 0),
        ([(100, 0.9)], 100, 0),
        ([(100, 0.0), (102, 0.0), (104, 0.0)], 102, 0),
    ],
)
def test_disturbed_rounds_do_not_count(rounds, median, left_out):
    """With fewer than three undisturbed ones, the three count in which least was stolen."""
    medians = Medians(disturbed(rounds))
    assert medians.of(row("fanout", CASE), "gateway") == median
    assert medians.left_out("fanout", "gateway") == (left_out, len(rounds))


def test_what_was_lost_in_a_disturbed_round_counts():
    """A neighbour may make a server slow; it excuses no loss."""
    made = disturbed([(100, 0.0), (102, 0.0), (104, 0.0), (90, 0.5)])
    made["rounds"][-1]["numbers"]["lost"] = 7
    assert Medians(made).faults(row("fanout", CASE), "gateway") == 7


def test_limit_is_that_of_the_rounds_that_count():
    """The generator may have been the limit of a disturbed round only."""
    made = disturbed([(100, 0.0), (102, 0.0), (104, 0.0)] + 4 * [(90, 0.5)])
    for one in made["rounds"][-4:]:
        one["limited_by"] = "the generator"
    assert not Medians(made).is_limited(row("fanout", CASE), "gateway")


def test_page_tells_what_was_stolen():
    """Below the machine, and behind the rounds that do not count."""
    rounds = [(100, 0.0), (102, 0.1), (104, 0.12), (50, 0.25), (40, 0.4)]
    text = measured(disturbed(rounds))
    assert (
        "core to others in 3 of 5 measurements: 0.12 of a core at the median, 0.40 at most" in text
    )
    assert "- fanout: gateway 5 (2 of 5 measurements left out)\n" in text


def test_page_is_silent_where_it_was_not_measured():
    """Results that were kept before have no such numbers; all their rounds count."""
    text = measured(results())
    assert "to others" not in text
    assert "measurements" not in text


def test_page_of_the_project_tells_the_rule():
    """The share above which a round does not count is the one that is applied."""
    text = " ".join((ROOT / "docs/performance.md").read_text(encoding="utf-8").split())
    assert f"it was more than {STOLEN_MUCH:g} do not count" in text


# the page


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


def test_three_numbers_of_the_page_are_those_that_were_measured():
    """What stands above the results, written by hand, is in the table that the program writes."""
    head, _, rest = (ROOT / "docs/performance.md").read_text(encoding="utf-8").partition(BEGIN)
    table = head.partition("## In three numbers")[2].partition("## ")[0]
    _, _, *rows = (line for line in table.splitlines() if line.startswith("| "))
    assert len(rows) == 3
    for row in rows:
        _, _, numbers = row.removesuffix(" |").removeprefix("| ").partition(" | ")
        assert numbers in rest.partition(END)[0], row
