"""The checker finds every kind of lie, and nothing in a truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.failover.checker import judge
from tests.failover.truths import (
    FIRST,
    GHOST,
    LOG,
    SECOND,
    created,
    message,
    patched,
    position,
    renamed,
    truth,
)

if TYPE_CHECKING:
    from tests.failover.truths import Truth

RENAMED_AT = 8  # where `epoch_changed` stands among ann's frames


def test_the_truth_passes_and_is_counted():
    """Nothing is found where each client was told; the ghost's snapshot is no needless one."""
    told = truth()
    verdict = judge(told.streams, told.surviving)
    assert verdict.faults == []
    assert (verdict.lost, verdict.total("needless")) == (0, 0)
    assert [verdict.tallies[name].snapshots for name in ("ann", "bob", "eve")] == [0, 0, 1]
    assert [verdict.tallies[name].epoch_changes for name in ("ann", "bob", "eve")] == [1, 1, 0]


def an_event_lost(told: Truth) -> None:
    """A message never came."""
    del told.ann.frames[2]


def an_event_lost_under_its_name(told: Truth) -> None:
    """A message never came, and offsets have no gap: what issue 8 saw."""
    told.ann.frames[-1] = created(SECOND, 14, message(5, "bob", "another"))


def the_last_event_lost(told: Truth) -> None:
    """The newest event never came."""
    del told.ann.frames[-1]


def an_event_doubled(told: Truth) -> None:
    """An event came twice."""
    told.ann.frames.insert(3, told.ann.frames[2])


def a_message_doubled_under_another_name(told: Truth) -> None:
    """A message came again as the next event."""
    told.ann.frames.append(created(SECOND, 15, message(4, "ann", "three")))


def events_reordered(told: Truth) -> None:
    """Two events came in the wrong order."""
    told.ann.frames[1:3] = reversed(told.ann.frames[1:3])


def contents_reordered(told: Truth) -> None:
    """Two messages changed places under the names of each other, for everybody."""
    for stream in told.streams:
        first, second = stream.frames[1:3]
        first["event"], second["event"] = second["event"], first["event"]
    for name, other in (((FIRST, 3), (FIRST, 4)),):
        events = told.surviving.events
        events[name], events[other] = events[other], events[name]


def a_ghost_kept(told: Truth) -> None:
    """A client goes by an event that is gone, and hears nothing more."""
    told.eve.frames = told.eve.frames[:9]


def a_ghost_passed_over(told: Truth) -> None:
    """A client saw a ghost and goes on in the new epoch without a snapshot."""
    told.eve.frames[9:10] = [renamed(10)]


def a_ghost_that_is_no_message(told: Truth) -> None:
    """The ghost is an event that leaves no trace in the state."""
    ghost = {"type": "PARTICIPANT_LEFT", "subject": "zoe"}
    told.eve.frames[8:10] = [GHOST | {"event": ghost}, renamed(10), LOG[7] | {"offset": 11}]


def other_content_at_one_name(told: Truth) -> None:
    """Two clients were told different events by the same name."""
    told.bob.frames[1] = created(FIRST, 3, message(1, "ann", "something else"))


def another_event_at_a_ghosts_name(told: Truth) -> None:
    """What survived has the name of a ghost that a client was told."""
    told.eve.frames[8]["epoch"] = told.eve.frames[8]["epoch"].replace(FIRST, SECOND)
    told.eve.frames.insert(8, renamed())


def wrong_content_of_a_message(told: Truth) -> None:
    """The history holds another content than everybody was told."""
    told.survives(
        history=[*told.surviving.history[:-1], message(4, "ann", "3", message_id="m_three")]
    )


def a_gap_filled_by_nothing(told: Truth) -> None:
    """Offsets jump."""
    del told.bob.frames[3:5]


def a_piece_of_a_reply_lost(told: Truth) -> None:
    """A piece of the reply's text is empty."""
    told.ann.frames[6]["event"]["delta"] = ""


def a_reply_stored_otherwise(told: Truth) -> None:
    """The reply in the history is not what was streamed, though its event says so."""
    for stream in told.streams:
        stream.frames[-3]["event"]["message"]["content"] = "1 3"
    told.surviving.events[SECOND, 12]["message"]["content"] = "1 3"
    told.surviving.history[2]["content"] = "1 3"


def a_tool_call_lost(told: Truth) -> None:
    """The surviving context knows a tool call that the client was not told of."""
    told.ann.frames[-2]["event"]["patch"] = []


def a_context_update_lost(told: Truth) -> None:
    """A version of the context never came."""
    told.ann.frames[7] = patched(FIRST, 9, 1) | {"event": {"type": "RUN_STARTED", "runId": "r_2"}}


def the_context_is_behind(told: Truth) -> None:
    """Everybody was told of a version that is not there."""
    told.surviving.context["memory"] = {}


def renamed_too_early(told: Truth) -> None:
    """`epoch_changed` came for a place where the client is not yet."""
    told.ann.frames[RENAMED_AT - 1 : RENAMED_AT + 1] = [renamed(), LOG[6]]


def renamed_at_another_offset(told: Truth) -> None:
    """`epoch_changed` changes the offset."""
    told.ann.frames[RENAMED_AT]["to"]["offset"] = 10


def never_renamed(told: Truth) -> None:
    """Events of another epoch came without a word."""
    del told.ann.frames[RENAMED_AT]


def an_accepted_message_missing(told: Truth) -> None:
    """What was accepted as `replicated` is not in the history."""
    told.ann.accepted.append(told.ann.accepted[0] | {"message_id": "m_x"})


def an_accepted_message_doubled(told: Truth) -> None:
    """What was accepted once is there twice."""
    told.surviving.history.append(message(5, "ann", "three", message_id="m_4"))


def an_accepted_place_of_another(told: Truth) -> None:
    """The place that was accepted holds another message."""
    told.ann.accepted[0]["offset"] = 4


def begun_anew(told: Truth) -> None:
    """A resumed client is told `fresh`: it never learns what it missed."""
    told.bob.frames[5] = position("fresh", FIRST, 7)


def events_before_the_snapshot(told: Truth) -> None:
    """A snapshot was promised and events came first."""
    told.bob.frames[5] = position("snapshot", FIRST, 7)


def an_old_snapshot(told: Truth) -> None:
    """A snapshot lacks a message that was there at its offset."""
    told.eve.frames[9]["messages"] = told.eve.frames[9]["messages"][:1]


LIES = {
    an_event_lost: "gap",
    an_event_lost_under_its_name: "missing",
    the_last_event_lost: "behind",
    an_event_doubled: "repeat",
    a_message_doubled_under_another_name: "repeat",
    events_reordered: "gap",
    contents_reordered: "order",
    a_ghost_kept: "ghost",
    a_ghost_passed_over: "ghost",
    a_ghost_that_is_no_message: "ghost",
    other_content_at_one_name: "name",
    another_event_at_a_ghosts_name: "name",
    wrong_content_of_a_message: "content",
    a_gap_filled_by_nothing: "gap",
    a_piece_of_a_reply_lost: "run_text",
    a_reply_stored_otherwise: "run_text",
    a_tool_call_lost: "context",
    a_context_update_lost: "context",
    the_context_is_behind: "context",
    renamed_too_early: "rename",
    renamed_at_another_offset: "rename",
    never_renamed: "epoch",
    an_accepted_message_missing: "acknowledged",
    an_accepted_message_doubled: "repeat",
    an_accepted_place_of_another: "name",
    begun_anew: "gap",
    events_before_the_snapshot: "gap",
    an_old_snapshot: "missing",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_every_lie_is_found(lie):
    """Each kind of lie gives a fault of its kind."""
    told = truth()
    lie(told)
    assert LIES[lie] in {fault.kind for fault in judge(told.streams, told.surviving).faults}


def test_a_snapshot_for_nothing_is_counted():
    """A client that had lost nothing and was given a snapshot is no fault, but it is counted."""
    told = truth()
    del told.eve.frames[8]
    verdict = judge(told.streams, told.surviving)
    assert (verdict.faults, verdict.total("needless")) == ([], 1)


def test_what_memory_loses_is_counted_and_no_fault():
    """`memory` may lose what it accepted, if clients are told."""
    told = truth()
    lost = told.ann.accepted[0] | {"message_id": "m_x", "offset": 99, "durability": "memory"}
    told.ann.accepted.append(lost)
    verdict = judge(told.streams, told.surviving)
    assert (verdict.faults, verdict.lost) == ([], 1)
