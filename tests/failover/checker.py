"""Judges what clients were told against what is there in the end. Knows only the protocol.

The promise: each event once and in order, or the client is told by a snapshot. So a client's
state, built from events and replaced by snapshots, equals what survived; and a name (epoch,
offset) stands for one event, whoever was told it and whether it survived or not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.failover.stream import name_of
from tests.failover.told import EMPTY_CONTEXT, Fault, Told

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.failover.stream import Name, Stream, Surviving

Message = dict[str, Any]
KEPT_FIELDS = ("message_id", "seq", "role", "author", "content", "client_message_id", "run_id")
# What a client lacks or has wrong without having been told: the silent misses.
SILENT = {"missing", "ghost", "content", "order", "run_text", "context", "behind", "name"}


@dataclass(frozen=True)
class Tally:
    """What is counted of one client.

    Attributes:
        needless: snapshots of which the client had lost nothing.
    """

    snapshots: int
    needless: int
    epoch_changes: int


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        faults: all of them; none is what is promised.
        tallies: by client.
        lost: accepted messages that are not in the history; only `memory` may lose any.
    """

    faults: list[Fault]
    tallies: dict[str, Tally]
    lost: int

    @property
    def misled(self) -> set[str]:
        """Clients that lack something, or have a ghost, and were not told."""
        return {fault.client for fault in self.faults if fault.kind in SILENT}

    def total(self, what: str) -> int:
        """The sum of a field of the tallies."""
        return sum(getattr(tally, what) for tally in self.tallies.values())


def judge(streams: Sequence[Stream], surviving: Surviving) -> Verdict:
    """Judge all clients of a conversation."""
    told = [Told(stream) for stream in streams]
    faults = [fault for one in told for fault in one.faults]
    faults += _misnamed(streams, surviving)
    faults += _history_faults(surviving.history)
    for one in told:
        faults += _message_faults(one, surviving) + _context_faults(one, surviving)
        faults += _text_faults(one, surviving) + _ghosts(one, surviving) + _behind(one, surviving)
    lost = [(stream, reply) for stream in streams for reply in _lost(stream, surviving)]
    faults += [
        Fault(stream.client, "acknowledged", f"{reply['client_message_id']} is not there, once")
        for stream, reply in lost
        if reply["durability"] != "memory"
    ]
    return Verdict(faults, {one.client: _tally(one, surviving) for one in told}, len(lost))


# Names


def _misnamed(streams: Sequence[Stream], surviving: Surviving) -> list[Fault]:
    """A name that stands for two events: of any two clients, or of a client and the log."""
    known = {name: ("the log", _text(event)) for name, event in surviving.events.items()}
    faults = []
    for stream in streams:
        for name, event in _named(stream):
            whose, other = known.setdefault(name, (stream.client, _text(event)))
            if other != _text(event):
                what = f"{name} is {_text(event):.160} and, for {whose}, {other:.160}"
                faults.append(Fault(stream.client, "name", what))
        faults += _misnamed_replies(stream, known)
    return faults


def _misnamed_replies(stream: Stream, known: dict[Name, tuple[str, str]]) -> list[Fault]:
    """`message_accepted` names the place where its message stands."""
    return [
        Fault(stream.client, "name", f"accepted {reply['message_id']} at {name_of(reply)}")
        for reply in stream.accepted
        if name_of(reply) in known and reply["message_id"] not in known[name_of(reply)][1]
    ]


def _named(stream: Stream) -> Iterable[tuple[Name, Message]]:
    for frame in stream.frames:
        if (
            frame["type"] == "event"
            and frame.get("from_offset", frame["offset"]) == frame["offset"]
        ):
            yield name_of(frame), frame["event"]


def _text(event: Message) -> str:
    return json.dumps(event, sort_keys=True, ensure_ascii=False)


# State


def _history_faults(history: list[Message]) -> list[Fault]:
    seqs = [message["seq"] for message in history]
    senders = [
        (message["author"], message["client_message_id"])
        for message in history
        if message.get("client_message_id")
    ]
    faults = []
    if seqs != list(range(1, len(history) + 1)):
        faults.append(Fault("history", "order", f"seqs are {seqs}"))
    if len(set(senders)) != len(senders):
        twice = sorted({one for one in senders if senders.count(one) > 1})
        faults.append(Fault("history", "repeat", f"stored twice: {twice}"))
    return faults


def _message_faults(told: Told, surviving: Surviving) -> list[Fault]:
    there = {m["message_id"]: m for m in surviving.history if m["seq"] >= told.since_seq}
    missing = [_shown(there[one]) for one in there if one not in told.messages]
    ghosts = [_shown(told.messages[one]) for one in told.messages if one not in there]
    both = [one for one in there if one in told.messages]
    other = [_shown(there[one]) for one in both if _kept(there[one]) != _kept(told.messages[one])]
    is_ordered = [one for one in told.messages if one in there] == both
    found = {"missing": missing, "ghost": ghosts, "content": other}
    faults = [Fault(told.client, kind, f"{what}") for kind, what in found.items() if what]
    return faults + ([] if is_ordered else [Fault(told.client, "order", "of its messages")])


def _kept(message: Message) -> Message:
    return {name: message.get(name) for name in KEPT_FIELDS}


def _shown(message: Message) -> str:
    return f"#{message['seq']} {message['author']} {str(message['content'])[:40]!r}"


def _context_faults(told: Told, surviving: Surviving) -> list[Fault]:
    there = {name: surviving.context[name] for name in EMPTY_CONTEXT}
    if told.context == there:
        return []
    return [Fault(told.client, "context", f"has {told.context!s:.300}, there is {there!s:.300}")]


def _text_faults(told: Told, surviving: Surviving) -> list[Fault]:
    contents = {message["message_id"]: message["content"] for message in surviving.history}
    return [
        Fault(told.client, "run_text", f"{one} was streamed as …{text[-60:]!r}")
        for one, text in told.texts.items()
        if one in contents and contents[one] != text
    ]


def _ghosts(told: Told, surviving: Surviving) -> list[Fault]:
    """Events that the client still goes by, and that did not survive."""
    gone = [name for name in told.held if _is_gone(name, surviving)]
    return [Fault(told.client, "ghost", f"goes by {gone[:5]}, which are gone")] if gone else []


def _is_gone(name: Name, surviving: Surviving) -> bool:
    if name in surviving.events:
        return False
    is_covered = name[0] in surviving.epochs and name[1] > surviving.covered_from
    return surviving.is_whole or is_covered


def _behind(told: Told, surviving: Surviving) -> list[Fault]:
    end = name_of(surviving.position)
    return [] if told.position == end else [Fault(told.client, "behind", f"{told.position}, {end}")]


# Counting


def _lost(stream: Stream, surviving: Surviving) -> list[Message]:
    """Accepted messages that the history does not hold once, as they were sent."""
    there = [(m["message_id"], m.get("client_message_id"), m["content"]) for m in surviving.history]
    return [
        reply
        for reply in stream.accepted
        if there.count((reply["message_id"], reply["client_message_id"], reply["content"])) != 1
    ]


def _tally(told: Told, surviving: Surviving) -> Tally:
    needless = 0
    for replaced in told.replaced:
        stood = replaced.position
        is_gone = any(name not in surviving.events for name in replaced.held)
        is_lost = stood != surviving.base and stood not in surviving.events
        needless += surviving.is_whole and not is_gone and not is_lost
    return Tally(len(told.replaced), needless, told.epoch_changes)
