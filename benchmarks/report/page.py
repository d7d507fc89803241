"""Writes the measured part of docs/performance.md, and its plots."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report.plots import Bar, Group, bars
from benchmarks.report.results import AUTHENTICATED, OWN, Medians, stolen
from benchmarks.report.rows import ROWS
from benchmarks.report.table import HEAD, details, markdown, number, summary

if TYPE_CHECKING:
    from benchmarks.report.results import Results
    from benchmarks.report.rows import Row

STOLEN_SOME = 0.1  # of a core; rounds in which more was stolen are counted on the page
DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->"
PLOTS = {
    "performance-deliveries.svg": ("Deliveries a second, saturated", "fanout", "deliveries_per_s"),
    "performance-latency.svg": ("99th percentile at 5,000 messages/s", "rate", "p99_ms"),
    "performance-storm.svg": ("Until the last of 2000 has caught up", "storm", "total_s"),
}


def write_page(results: Results, page: Path = PAGE) -> None:
    """Put the results where the last ones stood, and draw the plots beside the page."""
    head, found, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, closed, tail = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page} has no {BEGIN.strip()} … {END}")
    pictures = _draw(results, page.parent)
    inner = f"{measured(results)}\n{pictures}" if pictures else measured(results)
    page.write_text(f"{head}{BEGIN}{inner}{END}{tail}", encoding="utf-8")


def _draw(results: Results, folder: Path) -> str:
    """Draw what was measured; the links to the plots."""
    links = ""
    for name, (title, workload, metric) in PLOTS.items():
        if groups := _groups(results, workload, metric):
            picture = bars(title, groups, is_logarithmic=workload == "rate")
            (folder / name).write_text(picture, encoding="utf-8")
            links += f"![{title}]({name})\n\n"
    return links


def measured(results: Results) -> str:
    """The part of the page between its markers."""
    names, lines = details(results)
    machine = results["machine"]
    where = (
        f"{results['measured_at'][:10]}, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory']}, {machine['system']}"
    )
    parts = [f"Measured {where}.", _stolen(results), _ceiling(results)]
    parts += [markdown(HEAD, summary(results))]
    parts += (
        [
            "All medians (`*`: Redis and the generator, on their core, may have been the limit):",
            markdown(["work", *names], lines),
        ]
        if lines
        else []
    )
    return (
        "\n\n".join(
            [
                *filter(None, parts),
                _rounds(results),
                _versions(results),
                _left_out(results),
                _not_done(results),
            ]
        )
        + "\n"
    )


def _ceiling(results: Results) -> str:
    told = results.get("ceiling")
    return f"Beforehand, {told}." if told else ""


def _stolen(results: Results) -> str:
    told = [stolen(one) for one in results["rounds"] if "stolen_cpu" in one["numbers"]]
    if not told:
        return ""
    much = sum(one > STOLEN_SOME for one in told)
    return (
        f"Its host gave more than a tenth of a core to others in {much:,} of {len(told):,} "
        f"measurements: {statistics.median(told):.2f} of a core at the median, {max(told):.2f} "
        "at most."
    )


def _rounds(results: Results) -> str:
    medians = Medians(results)
    counts: dict[str, dict[str, int]] = {}
    for one in results["rounds"]:
        of_workload = counts.setdefault(one["workload"], {})
        of_workload[one["entry"]] = max(of_workload.get(one["entry"], 0), one["number"] + 1)
    lines = [
        f"- {workload}: "
        + ", ".join(
            f"{name} {count}{_not_counted(*medians.left_out(workload, name))}"
            for name, count in by_entry.items()
        )
        for workload, by_entry in counts.items()
    ]
    return "Rounds:\n\n" + "\n".join(lines)


def _not_counted(left_out: int, measured: int) -> str:
    return f" ({left_out} of {measured} measurements left out)" if left_out else ""


def _versions(results: Results) -> str:
    lines = [
        f"- {name}: {', '.join(f'{part} {version}' for part, version in versions.items())}"
        for name, versions in results["versions"].items()
    ]
    return "Versions:\n\n" + "\n".join(lines)


def _left_out(results: Results) -> str:
    lines = [f"- {name}: {why}" for name, why in results["left_out"].items()]
    return "Left out:\n\n" + "\n".join(lines or ["- nobody"])


def _not_done(results: Results) -> str:
    medians = Medians(results)
    unique = {(row.workload, row.case): row for row in ROWS}.values()
    lines = [
        f"- {name}, {row.case}: {problem.splitlines()[0][:200]}"
        for row in unique
        for name in medians.entries
        if (problem := medians.problem(row, name)) is not None
    ]
    return "No number (`no`):\n\n" + "\n".join(lines or ["- of none"])


def _groups(results: Results, workload: str, metric: str) -> list[Group]:
    medians = Medians(results)
    rows = {row.case: row for row in ROWS if row.workload == workload and row.metric == metric}
    groups = [Group(case, _bars(medians, row)) for case, row in rows.items()]
    return [group for group in groups if len(group.bars) > 1]


def _bars(medians: Medians, row: Row) -> tuple[Bar, ...]:
    return tuple(
        Bar(name, value, number(value, row.unit))
        for name in medians.entries
        if (value := medians.of(row, name)) is not None
        and (name == OWN or AUTHENTICATED not in name or row.workload == "storm")
    )
