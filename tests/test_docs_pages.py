"""The pages hold together: links, code, commands, and what the sources say of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from gateway.cli.main import build_parser
from tests.support.pages import DOCS, PAGES, ROOT, anchors, code_blocks, headings, relative, tables

OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
# Whose comments and messages point to pages.
SOURCES = (
    "gateway/**/*.py",
    "gateway/**/*.lua",
    "handlers/*.py",
    "clients/python/gateway_client/**/*.py",
    "docs/examples/*.py",
    "tools/*.py",
    "deploy/**/*",
    "Makefile",
    "Dockerfile",
    "docker-compose.yml",
    "pyproject.toml",
)
# A page, with an #anchor or with a section: `(page, Section)` or `(page, "Section")`.
REFERENCE = re.compile(
    r"(?<![\w/.])(docs/[\w/-]+\.(?:md|svg|py))(?:#([\w-]+))?(?:, (?:\"([^\"]+)\"|([^\")\n]+)\)))?"
)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_resolve(page: Path):
    """A link inside the repository names a file that is there, and a heading in it."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def test_every_page_can_be_reached_from_the_index():
    """docs/index.md links to each page."""
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md":
            assert f"]({page.relative_to(DOCS).as_posix()})" in index, relative(page)


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_python_in_pages_compiles(page: Path):
    """Every block of Python is whole."""
    for code in code_blocks(page.read_text(encoding="utf-8"), "python"):
        ast.parse(code)


def test_example_in_the_page_is_the_file_that_is_tested():
    """custom-messages.md shows docs/examples/greet.py as it is."""
    page = (DOCS / "how-to/custom-messages.md").read_text(encoding="utf-8")
    assert (DOCS / "examples/greet.py").read_text(encoding="utf-8") in code_blocks(page, "python")


def test_commands_of_make_in_pages_are_targets():
    """`make something` anywhere in the documentation is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, flags=re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"(?:^\$ |^ {4}|`)make ([a-z-]+)", text, flags=re.MULTILINE)
        assert set(named) <= targets, relative(page)
    readme = PAGES[0].read_text(encoding="utf-8")
    assert "    make run " in readme
    assert "    make test " in readme


def test_commands_of_the_gateway_in_pages_exist():
    """`gateway something` in a console block is a command, and each command is in operations.md."""
    actions = build_parser()._subparsers._group_actions
    commands = set(actions[0].choices)
    for page in PAGES:
        for block in code_blocks(page.read_text(encoding="utf-8"), "console"):
            typed = re.findall(r"^\$ (?:[A-Z_]+=\S+ )*gateway (\w+)", block, flags=re.MULTILINE)
            assert set(typed) <= commands, relative(page)
    rows = tables(OPERATIONS, "command", "what it does")
    assert {row.name.split()[1] for row in rows} == commands


def test_references_from_the_sources_resolve():
    """`docs/page.md` in a docstring is a page; `(docs/page.md, Section)` has that heading."""
    found = 0
    for pattern in SOURCES:
        for source in filter(Path.is_file, ROOT.glob(pattern)):
            text = source.read_text(encoding="utf-8")
            for name, anchor, quoted, section in REFERENCE.findall(text):
                found += 1
                where = f"{relative(source)}: {name} {quoted or section}"
                assert (ROOT / name).is_file(), where
                page = (ROOT / name).read_text(encoding="utf-8")
                assert not anchor or anchor in anchors(page), where
                wanted = (quoted or section).strip().lower()
                assert not wanted or wanted in map(str.lower, headings(page)), where
    assert found > 5


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_pages_name_no_place_of_a_machine(page: Path):
    """No absolute path of somebody's machine, and no emoji."""
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.:/])/(?:home|root|work|tmp|Users)/", text)
    assert not re.search("[\U0001f300-\U0001faff\u2705\u274c\u26a0]", text)
