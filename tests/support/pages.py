"""The documentation as data: its pages, tables, headings and blocks of code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
)


class Row(NamedTuple):
    """A line of a table: its cells, without the bars."""

    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the line is about, without backticks."""
        return self.cells[0].strip("`")


def tables(text: str, *header: str) -> list[Row]:
    """The rows of all tables that begin with these column names."""
    rows: list[Row] = []
    is_inside = False
    for line in text.splitlines():
        if not line.startswith("|"):
            is_inside = False
            continue
        bare = line.strip().strip("|").replace("\\|", "\0")
        cells = tuple(cell.strip().replace("\0", "|") for cell in bare.split("|"))
        if cells[: len(header)] == header:
            is_inside = True
        elif is_inside and not set(line) <= set("|- "):
            rows.append(Row(cells))
    return rows


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings(text)
    }


def headings(text: str) -> list[str]:
    """The headings of a page."""
    without_code = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)


def code_blocks(text: str, language: str) -> list[str]:
    """The fenced blocks whose info string is `language`."""
    blocks = re.findall(r"^ *```([^\n]*)\n(.*?)^ *```$", text, flags=re.DOTALL | re.MULTILINE)
    return [code for info, code in blocks if info.strip() == language]


def relative(path: Path) -> str:
    """A path for a test's name."""
    return path.relative_to(ROOT).as_posix()
