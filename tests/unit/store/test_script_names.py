"""Scripts name what they are given: no text counts places, and every call has the right names."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path

import pytest
from lupa.lua51 import LuaRuntime

from gateway.store.keys import Keys
from gateway.store.redis.declared import declared_in
from tests.support.stores import opened, scripts_in

LUA = {
    path.name: path.read_text()
    for path in (files("gateway.store") / "lua").iterdir()
    if path.name.endswith(".lua")
}
COUNTED = re.compile(r"\b(KEYS|ARGV)(\[\d+\]| +\d)|#ARGV (==|~=|[<>]=?) \d|\bunpack\(ARGV, \d")
HEADER = re.compile(r"^-- +(?:keys?|args?) +\w+", re.MULTILINE)
OPTIONS = {"writes", "birth", "durable", "idempotent", "is_durable", "caller"}
CALLERS = {
    path.name: ast.parse(path.read_text())
    for path in sorted(Path(str(files("gateway.store"))).glob("*.py"))
}


def loaded(tree: ast.Module) -> dict[str, str]:
    """Return the attributes that hold scripts of a module, with the scripts' names."""
    return {
        ast.unparse(node.targets[0]): node.value.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "Script"
    }


def called(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Return the calls of a module's scripts, each with the script's name."""
    scripts = loaded(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [(scripts.get(ast.unparse(call.func)), call) for call in calls]
    found += [(scripts.get(ast.unparse(call.args[0])), call) for call in calls if call.args]
    return [(name, call) for name, call in found if name is not None]


@pytest.mark.parametrize("name", sorted(LUA))
def test_no_text_counts_keys_or_arguments(name: str) -> None:
    """Not in its code, not in its header: a name is declared once, and the loader counts."""
    assert [line for line in LUA[name].splitlines() if COUNTED.search(line)] == []


@pytest.mark.parametrize(
    "line", ["f(ARGV[8])", "-- KEYS 1 session", "if #ARGV == 10 then", "f(unpack(ARGV, 15))"]
)
def test_a_text_that_counts_is_found(line: str) -> None:
    """What the test above looks for."""
    assert COUNTED.search(line)


@pytest.mark.parametrize("name", sorted(LUA))
def test_every_line_that_looks_like_a_declaration_is_one(name: str) -> None:
    """A kind that is not known, or a colon that is missing, is no comment by mistake."""
    assert len(HEADER.findall(LUA[name])) == len(declared_in(LUA[name]))


async def test_every_script_is_valid_lua_once_its_names_are_written() -> None:
    """A local or a parameter that has a declared name is a fault of syntax."""
    lua = LuaRuntime()
    async with opened("redis://127.0.0.1:1") as store:
        scripts = {script.name: script for script in scripts_in(store)}
    assert len(scripts) > 40
    for script in scripts.values():
        lua.compile(script.text)


@pytest.mark.parametrize("module", sorted(CALLERS))
async def test_a_call_has_the_keywords_that_its_script_declares(module: str) -> None:
    """All of them, if it spells them out itself; else none that is unknown."""
    async with opened("redis://127.0.0.1:1") as store:
        scripts = {script.name: script for script in scripts_in(store)}
    for name, call in called(CALLERS[module]):
        given = {word.arg for word in call.keywords} - OPTIONS
        declared = scripts[name].parameters.names
        is_whole = None not in given and not ast.unparse(call.func).endswith("._run")
        assert given - {None} <= declared, f"{module}:{call.lineno}"
        assert not is_whole or given == declared, f"{module}:{call.lineno}"


def test_every_script_is_called_somewhere() -> None:
    """So the test above has seen the calls of all."""
    seen = {name for tree in CALLERS.values() for name, _ in called(tree)}
    made = {name for tree in CALLERS.values() for name in loaded(tree).values()}
    assert seen == made
    assert len(seen) > 40


def test_keys_of_a_conversation_are_those_that_the_prelude_declares() -> None:
    """In its order: they are packed once for all scripts."""
    declared = [one.name for one in declared_in(LUA["prelude.lua"]) if one.table == "KEYS"]
    built = Keys().conversation("t", "c_1").all()
    names = ["conversation_key", *(f"{key.rpartition(':')[2]}_key" for key in built[1:])]
    assert names == declared


def test_arguments_of_all_scripts_are_in_the_order_of_the_prelude() -> None:
    """As `ConversationCalls` packs them: limits, the stamp of the link, birth and subject."""
    declared = [one.name for one in declared_in(LUA["prelude.lua"]) if one.table == "ARGV"]
    limits = ["clock_offset_ms", "log_max_events", "log_ttl_ms"]
    assert declared == [*limits, "seen_reign", "seen_until_ms", "new_birth", "subject"]


def test_keys_of_runs_are_those_that_runs_declares() -> None:
    """And those of a shard's line what each of its scripts declares."""
    assert list(Keys().conversation("t", "c_1").run_keys()) == [
        one.name for one in declared_in(LUA["runs.lua"])
    ]
    for name in ("claim.lua", "release.lua", "unserved.lua"):
        keys = [one.name for one in declared_in(LUA[name]) if one.table == "KEYS"]
        assert list(Keys().queue(0)) == keys
