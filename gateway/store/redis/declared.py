"""What Lua files declare that they are given, by name.

    -- key   session_key: the session (hash)      one key
    -- keys  online_keys: of each subject         all keys from here on
    -- arg   agent: its name                      an argument, as text
    -- arg   lease_ms (number): of the run        an argument, as a number
    -- arg   may_create (flag): if it is absent   an argument, true or false
    -- args  changes: kind, event                 all arguments from here on, so many of each

The file's text uses these names, and the loader writes what each stands for in its place:
`KEYS[1]`, `tonumber(ARGV[2])`, `ARGV[3] == '1'`. Of what repeats it has `changes_at`, where the
first one is in ARGV (or KEYS), and `changes_each`, of how many parts each is. Locals in front of
the text would cost Redis on every call, used or not, and once more for each function that captures
them: 4 % of the instructions of a `connect`, some 10 % of those of a message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.store.redis.link import Argument


# An argument, or a sequence of them. A type checker holds what follows ** against the options of a
# call as well, so it is told nothing of them; `Parameters` looks at the names.
Value = Any
_LINE = re.compile(r"^-- +(key|arg)(s?) +(\w+)(?: \((number|flag)\))?: *(.*)$", re.MULTILINE)
_TOKEN = re.compile(r"--.*|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|\.\.|\.\w+|\w+")
_SEQUENCES = (list, tuple)  # no text, whose characters would be taken for arguments
_WRITTEN = {"": "{}", "number": "tonumber({})", "flag": "({} == '1')"}


@dataclass(frozen=True, slots=True)
class Name:
    """One line of a header. `each` is of how many parts those are that repeat, else 0."""

    name: str
    table: str  # KEYS or ARGV
    kind: str = ""  # number or flag
    each: int = 0

    def written_at(self, at: int) -> dict[str, str]:
        """What a text uses of it, and what stands there if it is given from this place on."""
        if self.each:
            return {f"{self.name}_at": str(at), f"{self.name}_each": str(self.each)}
        return {self.name: _WRITTEN[self.kind].format(f"{self.table}[{at}]")}


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


def with_places(text: str, names: Sequence[Name]) -> str:
    """A text with what each of these names stands for; strings and comments stay as they are."""
    counts, written = {"KEYS": count(1), "ARGV": count(1)}, dict[str, str]()
    for one in names:
        written |= one.written_at(next(counts[one.table]))
    return _TOKEN.sub(lambda found: written.get(found[0], found[0]), text)


class Parameters:
    """The names of one script, in order; takes calls by keyword apart.

    Attributes:
        names: all that a call has to give.
        given: returns KEYS and ARGV for them. It is a function of the script's name with these
            keywords, made of text as dataclasses are: Python itself checks them, in a fraction of
            the time (TypeError).

    Raises:
        ValueError: a name stands twice, or something follows what repeats.
    """

    def __init__(self, script: str, names: Sequence[Name]) -> None:
        self.names = frozenset(one.name for one in names)
        if len(self.names) < len(names):
            raise ValueError(f"{script}.lua: a name is declared twice")
        keys, args = (_taken(script, names, table) for table in ("KEYS", "ARGV"))
        keywords = ", ".join(["*", *(one.name for one in names)]) if names else ""
        self.given: Callable[..., tuple[tuple[str, ...], tuple[Argument, ...]]] = eval(  # noqa: S307  # of names in our own files
            f"lambda {keywords}: ({keys}, {args})", {"_whole": _whole}
        )
        self.given.__qualname__ = f"{script}.lua"


def _taken(script: str, names: Sequence[Name], table: str) -> str:
    """A tuple of values of these names, as Python writes it."""
    some = [one for one in names if one.table == table]
    if any(one.each for one in some[:-1]):
        raise ValueError(f"{script}.lua: something follows what repeats")
    return f"({''.join(f'{_TAKEN[one.kind](one)}, ' for one in some)})"


def _single(one: Name) -> str:
    return f"*_whole({one.name!r}, {one.name}, {one.each})" if one.each else one.name


def _whole(name: str, some: Sequence[Argument], each: int) -> Sequence[Argument]:
    if not isinstance(some, _SEQUENCES) or len(some) % each:
        raise TypeError(f"{name} are not given {each} each")
    return some


_TAKEN: dict[str, Callable[[Name], str]] = {
    "": _single,
    "number": _single,
    "flag": lambda one: f"'1' if {one.name} else '0'",
}
