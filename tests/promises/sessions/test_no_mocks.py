"""7. No test here proves anything by what a mock was told to answer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
ANSWERING = {"mock", "unittest.mock", "pytest_mock", "fakeredis", "starlette.testclient"}
PROTOCOL_ONLY = ("wire.py", "conversation_log.py", "senders.py", "dialling.py", "proxy.py")


def imports_of(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize(
    "path",
    [
        *(TESTS / "promises" / "sessions").glob("test_*.py"),
        *(TESTS / "conformance").glob("test_*.py"),
    ],
    ids=lambda path: path.stem,
)
def test_no_mock_answers_in_place_of_a_server(path: Path) -> None:
    """Neither a mock, nor a fake Redis, nor a client without a socket is imported or patched in."""
    assert not imports_of(path) & ANSWERING
    patches = [
        argument.arg
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for argument in node.args.args
        if argument.arg in {"monkeypatch", "mocker"}
    ]
    assert not patches


@pytest.mark.parametrize("name", PROTOCOL_ONLY)
def test_the_client_of_these_tests_knows_only_the_protocol(name: str) -> None:
    """What judges the gateway imports nothing of it, nor of its own clients."""
    ours = {"gateway", "gateway_client", "handlers", "msgspec"}
    assert not {module.split(".")[0] for module in imports_of(TESTS / "support" / name)} & ours
