"""What scripts do to the data of the server they run on (gateway/store/lua)."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.model.state import Cut, Event, Heard

if TYPE_CHECKING:
    from tests.model.rules import Rules
    from tests.model.state import Events, Server, Stamp


def position(log: Events) -> Heard:
    """Where a log stands."""
    return Heard(log[-1].epoch, log[-1].offset)


@lru_cache(maxsize=100_000)
def letters(log: Events) -> str:
    """All messages of a history."""
    return "".join([event.letter for event in log])


@lru_cache(maxsize=100_000)
def ends(rules: Rules, log: Events) -> dict[str, int]:
    """The field `epochs` of a conversation: where each closed epoch ended."""
    if not rules.records_forks:
        return {}
    pairs = pairwise(log)
    return {one.epoch: one.offset + rules.end_shift for one, two in pairs if one.epoch != two.epoch}


def is_good(rules: Rules, log: Events, cursor: Heard) -> bool:
    """Whether a reader may go on from a cursor; otherwise it gets a snapshot."""
    here = position(log)
    if rules.by_heard or cursor.epoch == here.epoch:
        return cursor.epoch == here.epoch and cursor.offset <= here.offset
    if rules.by_offset_only:
        return bool(cursor.epoch) and cursor.offset <= here.offset
    closed = ends(rules, log)
    return cursor.epoch in closed and cursor.offset <= closed[cursor.epoch]


def read(rules: Rules, log: Events, cursor: Heard, heard_epoch: str) -> Cut:
    """read.lua."""
    epoch, offset = position(log)
    if not is_good(rules, log, cursor):
        return Cut(heard_epoch, epoch, offset, (), letters(log))
    later = [event for event in log if event.offset > cursor.offset and event.letter]
    if rules.by_heard:
        later = [event for event in later if event.epoch == epoch]
    return Cut(heard_epoch, epoch, offset, tuple(later), None)


def append(rules: Rules, server: Server, letter: str, packed: Stamp | Heard | None) -> Events:
    """send.lua: what is added to the log, and published: nothing if the message is known."""
    log, new = server.log, ()
    if rules.by_heard:
        new = begin_anew(log, packed, f"fresh-{letter}")
    if rules.is_idempotent and letter in letters(log):
        return new
    last = (*log, *new)[-1]
    if rules.by_heard:
        return (*new, Event(last.epoch, last.offset + 1, letter, ""))
    # Rule 1. A stamp whose `until` has passed is None here: then the script asks its server.
    reign = server.reign if packed is None else packed.reign
    epoch = last.epoch if reign == last.reign else _next_epoch(rules, last, reign)
    return (Event(epoch, last.offset + 1, letter, reign),)


def _next_epoch(rules: Rules, last: Event, reign: str) -> str:
    count = int(last.epoch.rpartition(".")[2]) + 1
    return f"{reign}.{count}" if rules.named_by_reign else f".{count}"


def begin_anew(log: Events, heard: Heard, fresh: str) -> Events:
    """`position()` of the old rules: less than the replica has heard, and the log begins anew."""
    last = log[-1]
    if heard.epoch == last.epoch and last.offset < heard.offset:
        return (Event(fresh, 0, "", ""),)
    return ()
