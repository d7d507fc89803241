"""What Lua files declare that they are given, by name.

    -- key   session_key: the session (hash)      one key
    -- keys  online_keys: of each subject         all keys from here on
    -- arg   agent: its name                      an argument, as text
    -- arg   lease_ms (number): of the run        an argument, as a number
    -- arg   may_create (flag): if it is absent   an argument, true or false
    -- args  changes: kind, event                 all arguments from here on, so many of each

A script's own are locals, written in front of its text. Of what repeats it has `changes_at`,
where the first one is in ARGV (or KEYS), and `changes_each`, of how many parts each is. What a
shared file declares is written where it is used, as KEYS[n] or ARGV[n]: locals would be captured by
each of its functions, on every call, which cost a message 12 % of Redis's instructions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.store.redis.link import Argument


# An argument, or a sequence of them. A type checker holds what follows ** against the options of a
# call as well, so it is told nothing of them; `Parameters` looks at the names.
Value = Any
_LINE = re.compile(r"^-- +(key|arg)(s?) +(\w+)(?: \((number|flag)\))?: *(.*)$", re.MULTILINE)
_TOKEN = re.compile(r"--.*|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|\.\.|\.\w+|\w+")
_COMMENT = re.compile(r"--.*")
_LOCALS = {
    "": "local {name} = {table}[{at}]",
    "number": "local {name} = tonumber({table}[{at}])",
    "flag": "local {name} = {table}[{at}] == '1'",
}


@dataclass(frozen=True, slots=True)
class Name:
    """One line of a header. `each` is of how many parts those are that repeat, else 0."""

    name: str
    table: str  # KEYS or ARGV
    kind: str = ""  # number or flag
    each: int = 0

    def locals_at(self, at: int) -> list[tuple[str, str]]:
        """The locals it makes, with their names, if it is given from this place on."""
        if not self.each:
            return [(self.name, _LOCALS[self.kind].format(name=self.name, table=self.table, at=at))]
        counts = ((f"{self.name}_at", at), (f"{self.name}_each", self.each))
        return [(name, f"local {name} = {value}") for name, value in counts]


def declared_in(text: str) -> tuple[Name, ...]:
    """What the header of a Lua file declares."""
    return tuple(
        Name(
            name,
            "KEYS" if table == "key" else "ARGV",
            kind or "",
            len(what.split(",")) if plural else 0,
        )
        for table, plural, name, kind, what in _LINE.findall(text)
    )


def locals_of(names: Sequence[Name], before: Sequence[Name], text: str) -> str:
    """The locals of names, those that a text uses, as one line of Lua.

    Args:
        names: which.
        before: what is given before them.
        text: what is to use them.
    """
    used = set(re.findall(r"\w+", _COMMENT.sub("", text)))
    found = [
        line
        for one, at in _places((*before, *names))[len(before) :]
        for name, line in one.locals_at(at)
        if name in used
    ]
    return "; ".join(found) + "\n" if found else ""


def with_places(text: str, shared: Sequence[Name]) -> str:
    """A text with KEYS[n] or ARGV[n] in the place of each name of these, but in no string."""
    places = {one.name: f"{one.table}[{at}]" for one, at in _places(shared)}
    return _TOKEN.sub(lambda found: places.get(found[0], found[0]), text)


def _places(names: Sequence[Name]) -> list[tuple[Name, int]]:
    """Each name with its place in KEYS or ARGV."""
    counts = {"KEYS": count(1), "ARGV": count(1)}
    return [(one, next(counts[one.table])) for one in names]


class Parameters:
    """The names of one script, in order; takes calls by keyword apart.

    Raises:
        ValueError: a name stands twice, or something follows what repeats.
    """

    def __init__(self, script: str, names: Sequence[Name]) -> None:
        self._script = script
        self._names = frozenset(one.name for one in names)
        if len(self._names) < len(names):
            raise ValueError(f"{script}.lua: a name is declared twice")
        self._flags = tuple(one.name for one in names if one.kind == "flag")
        self._keys, self._more_keys = _single(script, [one for one in names if one.table == "KEYS"])
        self._args, self._more_args = _single(script, [one for one in names if one.table == "ARGV"])

    def given(self, values: Mapping[str, Value]) -> tuple[tuple[str, ...], tuple[Argument, ...]]:
        """Return KEYS and ARGV for values by name.

        Raises:
            TypeError: one is missing, none of the script's, or some of what repeats is missing.
        """
        if self._flags:
            flags = {name: _flag(values[name]) for name in self._flags if name in values}
            values = {**values, **flags}
        try:
            keys, args = self._keys(values), self._args(values)
            if self._more_keys is not None:
                keys = (*keys, *self._repeated(self._more_keys, values))
            if self._more_args is not None:
                args = (*args, *self._repeated(self._more_args, values))
        except KeyError as exc:
            raise self._wrong("lacks", self._names - values.keys()) from exc
        if len(values) != len(self._names):
            raise self._wrong("does not take", values.keys() - self._names)
        return keys, args

    def _repeated(self, name: Name, values: Mapping[str, Value]) -> Sequence[Argument]:
        some: Argument | Sequence[Argument] = values[name.name]
        if isinstance(some, str | bytes | int | float) or len(some) % name.each:
            raise TypeError(f"{self._script}.lua: {name.name} are not given {name.each} each")
        return some

    def _wrong(self, what: str, names: Iterable[str]) -> TypeError:
        return TypeError(f"{self._script}.lua {what} {', '.join(sorted(names))}")


def _single(
    script: str, names: Sequence[Name]
) -> tuple[Callable[[Mapping[str, Value]], tuple[Any, ...]], Name | None]:
    """What takes those that do not repeat out of values by name; and the last, if it repeats."""
    last = names[-1] if names and names[-1].each else None
    single = [one.name for one in names if not one.each]
    if len(single) + (last is not None) < len(names):
        raise ValueError(f"{script}.lua: something follows what repeats")
    if len(single) > 1:
        return itemgetter(*single), last
    return lambda values: tuple(values[name] for name in single), last


def _flag(value: object) -> str:
    return "1" if value else "0"
