"""What scripts are given, by name: declared in Lua, checked when they are called."""

from __future__ import annotations

import pytest

from gateway.store.redis.declared import Name, Parameters, declared_in, with_places

HEADER = """-- Do something.
-- key session_key: the session
-- arg lease_ms (number): of the run
-- arg may_create (flag): if it is absent
-- arg agent: its name, which may be
--   of two lines
-- args changes: kind, event
-- Returns 1
redis.call('SET', session_key, lease_ms, may_create)
for i = changes_at, #ARGV, changes_each do f(ARGV[i]) end
"""
NAMES = declared_in(HEADER)
ALL = {"session_key": "s", "lease_ms": 5, "may_create": True, "agent": "a", "changes": ["t", "{}"]}


def test_header_declares_names_in_order() -> None:
    """With their kinds; what is no declaration is not taken for one."""
    assert (
        Name("session_key", "KEYS"),
        Name("lease_ms", "ARGV", "number"),
        Name("may_create", "ARGV", "flag"),
        Name("agent", "ARGV"),
        Name("changes", "ARGV", each=2),
    ) == NAMES


def test_names_are_written_as_what_they_stand_for() -> None:
    """Each at its place, as its kind is."""
    text = with_places(HEADER, NAMES)
    assert text.endswith(
        """redis.call('SET', KEYS[1], tonumber(ARGV[1]), (ARGV[2] == '1'))
for i = 4, #ARGV, 2 do f(ARGV[i]) end
"""
    )
    assert text.startswith(HEADER[: HEADER.index("redis.call")])


def test_names_count_on_behind_those_that_come_before() -> None:
    """A script's own follow those of all scripts of a conversation."""
    before = (Name("log_key", "KEYS"), Name("subject", "ARGV"), Name("birth", "ARGV"))
    names = (*before, *NAMES)
    assert with_places("f(session_key, agent)", names) == "f(KEYS[2], ARGV[5])"


def test_names_are_written_in_code_only() -> None:
    """Not in a string, a comment, a field's name, or as a part of another name."""
    shared = declared_in("-- key log_key: the log\n-- arg birth: of it\n-- arg subject: who asks")
    text = """f(log_key)..subject .. '"subject":' .. x.subject -- subject\nsubject_of(birth)"""
    assert with_places(text, shared) == (
        """f(KEYS[1])..ARGV[2] .. '"subject":' .. x.subject -- subject\nsubject_of(ARGV[1])"""
    )


def test_values_by_name_become_keys_and_arguments() -> None:
    """In the order of the header, flags as 1 or 0, what repeats at the end."""
    given = Parameters("x", NAMES).given
    assert given(**dict(reversed(ALL.items()))) == (("s",), (5, "1", "a", "t", "{}"))
    assert given(**{**ALL, "may_create": False, "changes": ()}) == (("s",), (5, "0", "a"))


def test_keys_may_repeat() -> None:
    """All keys from there on."""
    names = declared_in("-- keys sessions: session, online\n-- arg now: in ms")
    assert Parameters("x", names).given(sessions=["s", "o"], now=1) == (("s", "o"), (1,))
    assert with_places("f(sessions_at, sessions_each)", names) == "f(1, 2)"


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_missing_argument_is_named_before_anything_is_sent(name: str) -> None:
    """With its script; so is a key, a flag, and what repeats."""
    values = {other: value for other, value in ALL.items() if other != name}
    with pytest.raises(TypeError, match=rf"^x\.lua\(\) missing .*'{name}'$"):
        Parameters("x", NAMES).given(**values)


def test_an_unknown_argument_is_named() -> None:
    """It is not left out silently."""
    with pytest.raises(TypeError, match=r"^x\.lua\(\) got an unexpected .*'tenant'$"):
        Parameters("x", NAMES).given(**ALL, tenant="t")


@pytest.mark.parametrize("some", [["t", "{}", "t"], "ab", 1])
def test_a_part_of_what_repeats_is_refused(some: object) -> None:
    """And a text, whose characters would be taken for arguments."""
    with pytest.raises(TypeError, match="changes are not given 2 each"):
        Parameters("x", NAMES).given(**{**ALL, "changes": some})


@pytest.mark.parametrize(
    "header", ["-- arg a: one\n-- arg a: other", "-- args all: one\n-- arg more: other"]
)
def test_a_header_that_cannot_be_called_is_refused(header: str) -> None:
    """When it is loaded: a name that stands twice, or something behind what repeats."""
    with pytest.raises(ValueError, match=r"^x\.lua: "):
        Parameters("x", declared_in(header))
