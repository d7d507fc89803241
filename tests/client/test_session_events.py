"""Events of a session: gaps, room, acknowledgement; with time and frames as arguments."""

from __future__ import annotations

from gateway_client import Detached
from gateway_client.reader import NO_EPOCH
from gateway_client.requests import GetHistory
from tests.client.driven_session import C, DrivenSession, kinds


def test_gap_is_asked_for_before_anything_after_it_is_given():
    """An offset that jumps is never delivered; the log is read from the cursor."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    driven.event(7)
    (join,) = driven.flush()
    assert join["cursor"] == {"epoch": "e", "offset": 5}
    driven.reply(type="joined", conversation_id=C, mode="tail", epoch="e", offset=7, replayed=2)
    driven.event(6)
    driven.event(7)
    assert [driven.take().offset for _ in range(3)] == [5, 6, 7]


def test_gap_that_stays_is_healed_by_a_snapshot():
    """The log has a hole: asked in vain at the same place, a snapshot is asked for."""
    driven = DrivenSession().joined(offset=4)
    for _ in range(2):
        driven.event(6)
        driven.flush()
        driven.reply(type="joined", conversation_id=C, mode="tail", epoch="e", offset=6)
    assert driven.written[-1]["cursor"] == {"epoch": NO_EPOCH.epoch, "offset": 0}
    driven.receive(type="snapshot", conversation_id=C, epoch="e", offset=6)
    driven.event(7)
    assert [driven.take().offset for _ in range(2)] == [6, 7]


def test_merged_event_stands_for_all_it_names():
    """`from_offset` … `offset` follow what was received; a part seen already is a gap."""
    driven = DrivenSession().joined(offset=4)
    driven.event(7, from_offset=5)
    driven.event(9, from_offset=7)
    assert driven.take().offset == 7
    assert driven.take() is None
    assert kinds(driven.flush()) == ["join_conversation"]


def test_named_entry_that_does_not_come_is_asked_for():
    """Our own message was accepted at 5 and nothing comes: the fan-out has lost it."""
    driven = DrivenSession().joined(offset=4)
    driven.send()
    driven.accept(offset=5)
    assert kinds(driven.pass_time(4.5)) == []
    assert kinds(driven.pass_time(1)) == ["join_conversation"]


def test_full_inbox_stops_reading_unless_a_reply_is_due():
    """Back-pressure, without the deadlock of a consumer that asks something."""
    driven = DrivenSession(inbox_items=2).joined()
    driven.event(1)
    assert driven.session.wants_frames
    driven.event(2)
    assert not driven.session.wants_frames
    driven.ask(GetHistory(conversation_id=C))
    assert driven.session.wants_frames


def test_events_left_out_for_want_of_room_are_asked_for_when_there_is():
    """While only a reply is waited for, events are left out; nothing is lost by it."""
    driven = DrivenSession(inbox_items=2).joined()
    driven.event(1)
    driven.event(2)
    outcomes = driven.ask(GetHistory(conversation_id=C))
    driven.event(3)
    driven.reply(type="conversation_history", conversation_id=C)
    assert outcomes
    assert len(driven.session.inbox) == 2
    assert kinds(driven.pass_time(1)) == []
    driven.take()
    assert kinds(driven.pass_time(1)) == ["join_conversation"]
    assert driven.written[-1]["cursor"] == {"epoch": "e", "offset": 2}


def test_full_inbox_is_not_taken_for_a_silent_server():
    """Nobody reads, so nothing can be heard; but the server still hears pings."""
    driven = DrivenSession(inbox_items=1).joined()
    driven.event(1)
    assert "ping" in kinds(driven.pass_time(120))
    assert driven.session.fault is None


def test_only_what_was_dealt_with_is_acknowledged():
    """`ack` follows the application, at most every two seconds, and only if it moved."""
    driven = DrivenSession().joined()
    driven.event(1)
    driven.event(2)
    driven.take()
    assert kinds(driven.pass_time(3)) == []
    driven.take()
    (ack,) = driven.pass_time(2)
    assert ack == {"type": "ack", "cursors": {C: {"epoch": "e", "offset": 1}}}
    assert kinds(driven.pass_time(4)) == []


def test_conversation_the_server_refuses_is_reported():
    """Removed while away: the application is told, and the others go on."""
    driven = DrivenSession().joined()
    driven.lose()
    driven.live()
    driven.flush()
    driven.reply(type="error", code="not_found", message="gone", retryable=False)
    assert driven.take() == Detached(conversation_id=C, code="not_found", message="gone")
    assert driven.session.reader.cursor(C) is None
