"""What imports what: no circle, and no more than it takes to say what a command does."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

import gateway
from tests.support.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def modules_of(folder: Path) -> dict[str, Path]:
    """Return the modules of a package by their dotted names."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a module that are not in a function; those for types are."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imports_of(node)


def graph_of(folder: Path) -> dict[str, set[str]]:
    """Return for each module of a package which others of it are imported."""
    modules = modules_of(folder)
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        wanted: set[str] = set()
        for node in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            else:
                each = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= {full if full in modules else str(node.module) for full in each}
        graph[name] = (wanted & modules.keys()) - {name}
    return graph


@pytest.mark.parametrize("package", ["gateway", "clients/python/gateway_client"])
def test_no_modules_import_each_other(package):
    """Not even for the type checker: what needs each other is one thing, or lacks a third."""
    graph = graph_of(ROOT / package)
    assert len(graph) > 30
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_a_circle_for_types_only_is_seen(tmp_path):
    """The graph has imports under `if TYPE_CHECKING`, and those of submodules by their package."""
    package = tmp_path / "house"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "hall.py").write_text("if TYPE_CHECKING:\n    from house import room\n")
    (package / "room.py").write_text("from house.hall import door\n")
    with pytest.raises(CycleError):
        TopologicalSorter(graph_of(package)).prepare()


# Each takes 30 ms or more to import, or brings in what does.
HEAVY = {
    "asyncio",
    "cryptography",
    "gateway_client",
    "hiredis",
    "httptools",
    "httpx",
    "importlib.metadata",
    "jsonschema",
    "jwt",
    "prompt_toolkit",
    "redis",
    "starlette",
    "structlog",
    "uvicorn",
    "websockets",
}


@pytest.mark.parametrize(
    "program",
    [
        "import gateway.settings",
        "from gateway.cli.main import main; main(['--help'])",
        "from gateway.cli.main import main; main(['serve', '--help'])",
        "from gateway.cli.main import main; main(['serve', '--nonsense'])",
        "from gateway.cli.main import main; main(['serve', '--port', '70000'])",
        "from gateway.cli.main import main; main(['worker', '--concurrency', '0'])",
        "from gateway.cli.main import main; main(['token', '--sub', 'alice'])",
    ],
)
def test_help_and_errors_import_nothing_heavy(program, tmp_path):
    """What the command line says before it begins is there at once."""
    lines = (
        "import atexit, sys",
        "atexit.register(lambda: print('imported:', *sys.modules))",
        program,
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'clients/python'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {*done.stdout.rpartition("imported: ")[2].split()}
    assert "gateway.settings" in imported
    assert not imported & HEAVY


def test_the_package_offers_what_it_names():
    """Whatever is in `__all__` can be imported from `gateway`, and is the same each time."""
    for name in gateway.__all__:
        assert getattr(gateway, name) is getattr(gateway, name)
    assert {*gateway.__all__} <= {*dir(gateway)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gateway.nothing
