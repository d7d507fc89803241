"""Events of a session: gaps, room, acknowledgement; with time and frames as arguments."""

from __future__ import annotations

import pytest

from gateway_client import Cursor, Detached, EpochChanged
from gateway_client.protocol.requests import GetHistory
from gateway_client.session.reader import NO_EPOCH
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


# --- epochs --------------------------------------------------------------------------------------


def change(driven: DrivenSession, old: tuple[str, int], new: tuple[str, int]) -> None:
    """Let the push arrive that says what a place is called now."""
    ends = {"from": old, "to": new}
    named = {key: {"epoch": epoch, "offset": offset} for key, (epoch, offset) in ends.items()}
    driven.receive(type="epoch_changed", conversation_id=C, **named)


def test_events_go_on_in_another_epoch_without_a_gap():
    """Who has all of the old epoch stands at the same place in the new one."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    change(driven, ("e", 5), ("f", 5))
    driven.event(6, epoch="f")
    change(driven, ("f", 6), ("g", 6))
    driven.event(7, epoch="g")
    assert driven.flush() == []
    assert [driven.take().cursor for _ in range(3)] == [
        Cursor("e", 5),
        Cursor("f", 6),
        Cursor("g", 7),
    ]


def test_where_a_reader_starts_is_renamed_too():
    """Nothing was received yet."""
    driven = DrivenSession().joined(offset=4)
    change(driven, ("e", 4), ("f", 4))
    assert driven.session.reader.cursors() == {C: Cursor("f", 4)}
    driven.event(5, epoch="f")
    assert driven.flush() == []
    assert driven.take().offset == 5


@pytest.mark.parametrize("old", [("e", 4), ("e", 6), ("d", 5)])
def test_change_of_epoch_elsewhere_is_ignored(old):
    """Who lacks something finds a gap at the next event, and asks from where it stands."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    change(driven, old, ("f", old[1]))
    assert driven.session.reader.cursors() == {C: Cursor("e", 5)}
    driven.event(old[1] + 1, epoch="f")
    (join,) = driven.flush()
    assert join["cursor"] == {"epoch": "e", "offset": 5}


def test_named_entry_of_another_epoch_that_does_not_come_is_asked_for():
    """Our own message was accepted there, and neither it nor the change of epoch came."""
    driven = DrivenSession().joined(offset=4)
    driven.send()
    driven.reply(
        type="message_accepted",
        conversation_id=C,
        message_id="m",
        client_message_id="hi",
        epoch="f",
        offset=5,
    )
    assert kinds(driven.pass_time(4.5)) == []
    assert kinds(driven.pass_time(1)) == ["join_conversation"]


def test_change_of_epoch_of_an_unknown_conversation_is_ignored():
    """It is followed no longer."""
    driven = DrivenSession().live()
    change(driven, ("e", 5), ("f", 5))
    assert driven.session.fault is None
    assert driven.session.reader.cursors() == {}


def test_replayed_events_of_the_epoch_before_are_dropped():
    """A join of ours was on its way while the epoch changed: no gap is seen in what it repeats."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    change(driven, ("e", 5), ("f", 5))
    for offset in (4, 5):
        driven.event(offset)
    driven.event(6, epoch="f")
    assert driven.flush() == []
    assert len(driven.session.inbox) == 2


def test_history_that_goes_on_in_the_old_epoch_is_followed_after_a_snapshot():
    """The server that began the new epoch is lost: the snapshot counts, not what came before."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    change(driven, ("e", 5), ("f", 5))
    driven.event(6, epoch="f")
    driven.receive(type="snapshot", conversation_id=C, epoch="e", offset=3)
    driven.event(4)
    assert [driven.take().cursor for _ in range(4)] == [
        Cursor("e", 5),
        Cursor("f", 6),
        Cursor("e", 3),
        Cursor("e", 4),
    ]


def test_what_is_saved_and_acknowledged_has_the_new_name():
    """Old epochs are forgotten by the server; the inbox may hold events by their old names."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    driven.event(6)
    driven.take()
    change(driven, ("e", 6), ("f", 6))
    change(driven, ("f", 6), ("g", 6))
    assert driven.session.export().cursors == {C: Cursor("e", 5)}
    driven.take()
    assert driven.session.export().cursors == {C: Cursor("g", 6)}
    driven.take()
    (ack,) = driven.pass_time(2)
    assert ack["cursors"] == {C: {"epoch": "g", "offset": 6}}


def test_change_of_epoch_while_events_are_left_out_is_heard_again():
    """There was no room for the last event of the epoch: the log has both."""
    driven = DrivenSession(inbox_items=1).joined()
    driven.event(1)
    driven.ask(GetHistory(conversation_id=C))
    driven.event(2)
    change(driven, ("e", 2), ("f", 2))
    driven.reply(type="conversation_history", conversation_id=C)
    driven.take()
    driven.take()
    assert kinds(driven.pass_time(1)) == ["join_conversation"]
    assert driven.written[-1]["cursor"] == {"epoch": "e", "offset": 1}


def test_change_of_epoch_is_a_notice():
    """An application that keeps cursors of its own may want to know."""
    driven = DrivenSession().joined(offset=4)
    driven.session.intake.take_notices()
    change(driven, ("e", 4), ("f", 4))
    assert driven.session.intake.take_notices() == [
        EpochChanged(conversation_id=C, old=Cursor("e", 4), new=Cursor("f", 4))
    ]
