"""The table, as text for a terminal and as Markdown for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.report.results import OWN, Medians
from benchmarks.report.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report.results import Results
    from benchmarks.report.rows import Row

TIMES = "\N{MULTIPLICATION SIGN}"
HEAD = ("work", "gateway", "best peer", "", "ratio", "target", "")


def summary(results: Results) -> list[tuple[str, ...]]:
    """A line for each row that was measured at the gateway."""
    medians = Medians(results)
    return [_line(row, medians) for row in ROWS if medians.of(row, OWN) is not None]


def details(results: Results) -> tuple[list[str], list[list[str]]]:
    """The names of all entries, and what each of them reached, by row."""
    medians = Medians(results)
    rows = list({(row.workload, row.case): row for row in ROWS}.values())
    names = [name for name in medians.entries if any(_tried(medians, row, name) for row in rows)]
    lines = [
        [f"{row.case} ({_measure(row)})", *(_cell(medians, row, name) for name in names)]
        for row in rows
        if any(_tried(medians, row, name) for name in names)
    ]
    return names, lines


def text_table(results: Results) -> str:
    """For a terminal."""
    lines = [HEAD, *summary(results)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEAD))]
    return "\n".join(_padded(line, widths) for line in lines)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    rules = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rules, *lines))


def number(value: float, unit: str) -> str:
    """As it is read: three digits, its unit behind it."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004  # digits
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}"


def _line(row: Row, medians: Medians) -> tuple[str, ...]:
    own, best, ratio = medians.of(row, OWN), medians.best_peer(row), medians.ratio(row)
    name, value = (best[0], number(best[1], row.unit)) if best else ("none", "")
    sign = "≥" if row.more_is_better else "≤"
    return (
        row.label,
        number(own or 0.0, row.unit),
        name,
        value,
        "" if ratio is None else f"{ratio:.2f} {TIMES}",
        "" if row.target is None else f"{sign} {row.target:g} {TIMES}",
        {True: "met", False: "missed", None: ""}[medians.is_met(row)],
    )


def _padded(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = line
    cells = [f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True)]
    return "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()


def _tried(medians: Medians, row: Row, entry: str) -> bool:
    return medians.of(row, entry) is not None or medians.problem(row, entry) is not None


def _measure(row: Row) -> str:
    words = {"deliveries_per_s": "deliveries", "messages_per_s": "messages", "total_s": "total"}
    return words.get(row.metric, row.metric.partition("_")[0])


def _cell(medians: Medians, row: Row, entry: str) -> str:
    value = medians.of(row, entry)
    if value is None:
        return "no" if medians.problem(row, entry) else ""
    faults = medians.faults(row, entry)
    told = f" ({faults:,} faults)" if faults else ""
    return number(value, row.unit) + ("*" if medians.is_limited(row, entry) else "") + told
