"""docs/security.md promises nothing without a test that exists, and can be found."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import DOCS, ROOT, tables

PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
PROMISES = tables(PAGE, "promise", "how", "tests")
NAMED = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")


def test_every_promise_names_its_tests() -> None:
    """At least one, in the last column, and nothing else there."""
    assert len(PROMISES) > 30
    for row in PROMISES:
        assert len(row.cells) == 3, row.name
        for one in row.cells[2].split(", "):
            assert NAMED.fullmatch(one), f"{row.name}: {one}"


@pytest.mark.parametrize("named", sorted(set(NAMED.findall(PAGE))), ids="::".join)
def test_named_test_exists(named: tuple[str, str]) -> None:
    """In the file that the page names."""
    path, name = named
    text = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(", text, flags=re.MULTILINE)


def test_every_fuzz_target_is_named() -> None:
    """A parser that is fuzzed is one that the page promises something about."""
    targets = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/fuzz/test_*.py")}
    assert targets - {path for path, _ in NAMED.findall(PAGE)} <= {"tests/fuzz/test_command.py"}


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "SECURITY.md"])
def test_the_page_can_be_found(page: str) -> None:
    """From where people begin, and from where hosts of code look."""
    assert "security.md)" in (ROOT / page).read_text(encoding="utf-8")
