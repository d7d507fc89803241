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
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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

    Raises:
        ValueError: a name stands twice, or something follows what repeats.
    """

    def __init__(self, script: str, names: Sequence[Name]) -> None:
        self._script = script
        self.names = frozenset(one.name for one in names)
        if len(self.names) < len(names):
            raise ValueError(f"{script}.lua: a name is declared twice")
        self._flags = tuple(one.name for one in names if one.kind == "flag")
        self._keys, self._more_keys = _single(script, [one for one in names if one.table == "KEYS"])
        self._args, self._more_args = _single(script, [one for one in names if one.table == "ARGV"])

    def given(self, values: dict[str, Value]) -> tuple[tuple[str, ...], tuple[Argument, ...]]:
        """Return KEYS and ARGV for the keywords of a call, in which flags become text.

        Raises:
            TypeError: one is missing, none of the script's, or some of what repeats is missing.
        """
        try:
            for name in self._flags:
                values[name] = "1" if values[name] else "0"
            keys, args = self._keys(values), self._args(values)
            if self._more_keys is not None:
                keys = (*keys, *self._repeated(self._more_keys, values))
            if self._more_args is not None:
                args = (*args, *self._repeated(self._more_args, values))
        except KeyError as exc:
            raise self._wrong("lacks", self.names - values.keys()) from exc
        if len(values) != len(self.names):
            raise self._wrong("does not take", values.keys() - self.names)
        return keys, args

    def _repeated(self, name: Name, values: dict[str, Value]) -> Sequence[Argument]:
        some: Argument | Sequence[Argument] = values[name.name]
        if not isinstance(some, _SEQUENCES) or len(some) % name.each:
            raise TypeError(f"{self._script}.lua: {name.name} are not given {name.each} each")
        return some

    def _wrong(self, what: str, names: Iterable[str]) -> TypeError:
        return TypeError(f"{self._script}.lua {what} {', '.join(sorted(names))}")


def _single(
    script: str, names: Sequence[Name]
) -> tuple[Callable[[dict[str, Value]], tuple[Any, ...]], Name | None]:
    """What takes those that do not repeat out of values by name; and the last, if it repeats."""
    last = names[-1] if names and names[-1].each else None
    single = [one.name for one in names if not one.each]
    if len(single) + (last is not None) < len(names):
        raise ValueError(f"{script}.lua: something follows what repeats")
    if len(single) > 1:
        return itemgetter(*single), last
    if single:
        name = single[0]
        return lambda values: (values[name],), last
    return lambda _: (), last
