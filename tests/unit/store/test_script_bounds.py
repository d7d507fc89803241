"""Every loop of a script, and every command that reads or removes many entries, has a stated bound.

Redis runs one script at a time: what one tenant's script takes, all others wait for. So beside each
loop stands `-- bound: <number> (<name>)`, the name being what makes it true, or one of `UNCOUNTED`.
The numbers are those of the code.
"""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from msgspec.inspect import type_info

from gateway.connections import inbox
from gateway.protocol.messages import Connect, CreateConversation
from gateway.runs import emitter
from gateway.settings import Settings
from gateway.store import conversations, log, sessions, shared_reads

LUA = {
    path.name: path.read_text()
    for path in (files("gateway.store") / "lua").iterdir()
    if path.name.endswith(".lua")
}
LOOPS = re.compile(r"\b(for|while|repeat)\b|\bunpack\(|\.gmatch\(|\.gsub\(")
MANY = re.compile(
    r"'(HGETALL|HKEYS|HVALS|KEYS|SORT|LPOS|LRANGE|LREM|LTRIM|SMEMBERS|[SHZ]?SCAN|[SZ](DIFF|INTER|UNION)"
    r"|Z(REV|REM)?RANGE(BY(LEX|SCORE|RANK))?)'"
)
BOUND = re.compile(r"-- bound: (?:(\d+) \((.+)\)|(\w+))$")
# What a client or another tenant can make no larger than is said here.
UNCOUNTED = {
    "agents": "those of the operator's settings",
    "workers": "those of one machine that have died",
    "full": "tenants and subjects who have all they may of a worker: no more than its slots",
    "versions": "of the agent context that are kept: GATEWAY_CONTEXT_VERSIONS",
    "run": "steps, tool calls and questions of one run, by the agent, within the run's limits",
    "events": "what the other loops of the script append, each within its own bound; of the log,"
    " what is beyond log_max_events by then",
    "interrupts": "questions of a conversation that wait for an answer, of its runs",
    "members": "participants of a conversation",
    "sessions": "of one subject, that were connected within session_ttl_s",
    "ready": "runs that wait, of a conversation or a shard",
}


def _longest(kind: type, field: str) -> int:
    """Return how many entries a field of a request may have."""
    found = next(one for one in type_info(kind).fields if one.encode_name == field)
    length = found.type.max_length
    assert isinstance(length, int)
    return length


NUMBERS = {
    "LIMIT": None,  # stands in the command
    "MAX_READERS": shared_reads.MAX_READERS,
    "PAGE_EVENTS twice": 2 * log.PAGE_EVENTS,
    "MAX_TOGETHER": inbox.MAX_TOGETHER,
    "MAX_WAITING twice": 2 * emitter.MAX_WAITING,
    "TOLD_AT_ONCE": conversations.TOLD_AT_ONCE,
    "TOUCHED_AT_ONCE": sessions.TOUCHED_AT_ONCE,
    "cursors": _longest(Connect, "cursors"),
    "cursors, twice": 2 * _longest(Connect, "cursors"),
    "participants": _longest(CreateConversation, "participants"),
    "history_page_max": Settings(redis_url="redis://x").history_page_max,
    "parts of a value of ids": 6,
    "of a value": 1,
    "characters of a subject": 128,
    "subjects at once": sessions.ONLINE_AT_ONCE,
}


def code_of(line: str) -> str:
    """Return a line without its comment."""
    return line.partition("--")[0]


def needs_bound(line: str) -> bool:
    """Whether a line runs over many entries."""
    code = code_of(line)
    return bool(LOOPS.search(code) or MANY.search(code))


def stated(text: str) -> list[tuple[str, re.Match[str] | None]]:
    """Return the lines that need a bound, each with what is stated."""
    return [(line.strip(), BOUND.search(line)) for line in text.splitlines() if needs_bound(line)]


def numbers_of(text: str) -> dict[str, float]:
    """Return the constants of a script, and what is made of two of them."""
    found = {name: float(value) for name, value in re.findall(r"\b([A-Z_]+) = (\d+)", text)}
    for names, values in re.findall(r"^ *local ([A-Z_, ]+) = ([\d, ]+)", text, re.MULTILINE):
        found |= dict(zip(names.split(", "), map(float, values.split(", ")), strict=True))
    products = {f"{a} * {b}": found[a] * found[b] for a in found for b in found}
    return found | products | {f"{name} twice": 2 * value for name, value in found.items()}


# A script is put together of several files: a bound may be the constant of another one.
ALL = {name: value for text in LUA.values() for name, value in numbers_of(text).items()}


@pytest.mark.parametrize("name", sorted(LUA))
def test_every_loop_says_what_bounds_it(name: str) -> None:
    """And every command whose reply or work grows with what is stored."""
    assert [line for line, bound in stated(LUA[name]) if bound is None] == []


@pytest.mark.parametrize("name", sorted(LUA))
def test_a_bound_is_what_the_code_says(name: str) -> None:
    """A number is that of the constant, setting or field that is named beside it."""
    known = NUMBERS | ALL | numbers_of(LUA[name])
    for line, bound in stated(LUA[name]):
        assert bound is not None, line
        number, source, word = bound.groups()
        if word is not None:
            assert word in UNCOUNTED, line
        elif source == "LIMIT":
            assert f"{number})" in code_of(line), line
        else:
            assert float(number) == known.get(source), line


def test_a_loop_without_a_bound_is_found() -> None:
    """The check sees loops, commands and what is unpacked; a comment is none of these."""
    lines = ["for i = 1, 2 do", "redis.call('HGETALL', k)", "f(unpack(t))", "x = 1 -- for them"]
    assert [line for line, bound in stated("\n".join(lines)) if bound is None] == lines[:3]
