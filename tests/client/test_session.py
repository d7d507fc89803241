"""Links of a session: opened, lost, resumed, tested; with time and frames as arguments."""

from __future__ import annotations

import pytest

from gateway_client import BadFrame, SessionReplaced, State
from gateway_client.session.saved import SavedState
from tests.client.driven_session import C, DrivenSession, kinds


def test_resume_names_session_token_and_cursors():
    """After a drop, `connect` carries what the server needs to go on."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    driven.lose()
    driven.session.link_opened(driven.now)
    (connect,) = driven.flush()
    assert connect["session_id"] == "s_1"
    assert connect["resume_token"] == "r_1"
    assert connect["cursors"] == {C: {"epoch": "e", "offset": 5}}


def test_attempts_to_connect_are_numbered_upward():
    """From the time on, so that a later run has higher numbers even if none was saved."""
    driven = DrivenSession(unix_ms=1_700_000_000_000)
    for n in range(1, 4):
        driven.session.link_opened(driven.now)
        (connect,) = driven.flush()
        assert connect["attempt"] == 1_700_000_000_000 + n
        driven.lose()


@pytest.mark.parametrize(("unix_ms", "attempt"), [(3, 6), (5, 6), (1000, 1001)])
def test_numbers_of_attempts_rise_over_a_restart(unix_ms, attempt):
    """Also if the clock was set back meanwhile."""
    driven = DrivenSession(unix_ms=4).live()
    again = DrivenSession(unix_ms=unix_ms)
    again.session.restore(SavedState.from_bytes(driven.session.export().to_bytes()))
    again.live()
    assert again.written[0]["attempt"] == attempt


def test_state_saved_by_an_older_version_is_read():
    """It has no number of the last attempt."""
    saved = SavedState.from_bytes(b'{"version":1,"session_id":"s_1","resume_token":"r"}')
    assert (saved.session_id, saved.connects) == ("s_1", 0)


def test_new_session_joins_again_where_the_client_stands():
    """A session that could not be resumed loses nothing: its conversations are joined again."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    driven.lose()
    driven.live()
    (join,) = driven.flush()
    assert join["type"] == "join_conversation"
    assert join["cursor"] == {"epoch": "e", "offset": 5}


def test_replaced_session_is_closed_and_goes_on_in_a_new_one_when_asked():
    """It does not come back by itself; `reopen` does not use the other's session."""
    driven = DrivenSession().joined(offset=4)
    waiting = driven.send()
    driven.lose(4001)
    assert driven.session.status.state is State.CLOSED
    assert isinstance(waiting[0], SessionReplaced)
    driven.session.reopen(driven.now)
    driven.session.link_opened(driven.now)
    (connect,) = driven.flush()
    assert "session_id" not in connect
    assert connect["cursors"] == {C: {"epoch": "e", "offset": 4}}


def test_connect_refused_for_good_asks_for_a_new_session():
    """A saved session that the server does not understand is given up, not repeated."""
    driven = DrivenSession()
    driven.session.restore(SavedState(session_id="s_?", resume_token="?"))
    driven.session.link_opened(driven.now)
    driven.flush()
    driven.reply(type="error", code="bad_request", message="$.session_id", retryable=False)
    assert driven.session.fault is not None
    driven.lose()
    driven.session.link_opened(driven.now)
    assert "session_id" not in driven.flush()[0]


def test_short_links_are_followed_by_longer_delays():
    """A server that closes at once is not hammered; a link that held is replaced fast again."""
    driven = DrivenSession().live()
    driven.lose()
    first_s = driven.session.reconnect_at - driven.now
    driven.live()
    driven.lose()
    second_s = driven.session.reconnect_at - driven.now
    driven.live()
    driven.pass_time(11)
    driven.lose()
    third_s = driven.session.reconnect_at - driven.now
    assert first_s <= 0.25
    assert second_s >= 0.5
    assert third_s <= 0.25


@pytest.mark.parametrize(
    "frame", ["{", "[1]", '{"type":"event"}', "{}", '{"type":"live","conversations":3}']
)
def test_bad_frame_is_a_fault_of_the_link(frame):
    """What the protocol does not allow is not guessed at."""
    driven = DrivenSession().live()
    driven.session.receive(frame, driven.now)
    assert isinstance(driven.session.fault, BadFrame)


def test_empty_frames_batches_and_unknown_pushes_are_understood():
    """An empty frame is nothing, an array is a batch, an unknown type is the application's."""
    driven = DrivenSession().live()
    driven.session.receive("", driven.now)
    driven.session.receive('[{"type":"own","x":1},{"type":"own"}]', driven.now)
    assert [notice.type for notice in driven.session.intake.take_notices()] == ["own", "own"]
    assert driven.session.fault is None


def test_saved_state_survives_its_encoding():
    """Session, cursors as of the last event handed over, and unacknowledged messages."""
    driven = DrivenSession().joined(offset=4)
    driven.event(5)
    driven.event(6)
    driven.take()
    driven.send("kept")
    saved = SavedState.from_bytes(driven.session.export().to_bytes())
    again = DrivenSession()
    again.session.restore(saved)
    again.live(**{C: {"mode": "tail", "epoch": "e", "offset": 6}})
    sent = again.flush()
    assert again.written[0]["cursors"] == {C: {"epoch": "e", "offset": 5}}
    assert [one["client_message_id"] for one in sent] == ["kept"]


def test_quiet_link_is_pinged_and_a_silent_server_given_up():
    """With nothing for interval_s: `ping`. With nothing for timeout_s more: gone."""
    driven = DrivenSession().live()
    assert kinds(driven.pass_time(24.5)) == []
    assert kinds(driven.pass_time(1)) == ["ping"]
    assert driven.session.fault is None
    driven.pass_time(10)
    assert driven.session.fault is not None


def test_server_is_pinged_though_it_talks_all_the_time():
    """The server judges by what it hears, so something has to be sent."""
    driven = DrivenSession().live()
    for _ in range(26):
        driven.pass_time(1)
        driven.receive(type="presence", conversation_id=C, subject="b", online=True)
    assert kinds(driven.written)[-1] == "ping"


def test_link_is_tested_after_the_machine_slept():
    """A jump of the clock: three seconds to prove that the link lives."""
    driven = DrivenSession().live()
    driven.pass_time(1)
    driven.now += 3600
    assert kinds(driven.pass_time(0.5)) == ["ping"]
    assert driven.session.fault is None
    driven.pass_time(3)
    assert driven.session.fault is not None


def test_waiting_to_reconnect_ends_when_the_network_changes():
    """Another network: the next attempt is made now, and delays begin anew."""
    driven = DrivenSession().live()
    for _ in range(6):
        driven.lose()
    assert driven.session.reconnect_at > driven.now
    driven.session.network_changed(driven.now)
    assert driven.session.reconnect_at == driven.now


def test_server_that_does_not_answer_connect_is_given_up():
    """An open socket is not yet a session."""
    driven = DrivenSession()
    driven.session.link_opened(driven.now)
    driven.pass_time(10)
    assert driven.session.fault is not None


def test_expiring_token_is_noticed():
    """`token_expires_soon` asks for a new token, in-band."""
    driven = DrivenSession().live()
    driven.receive(type="session_warning", code="token_expires_soon", message="")
    assert driven.session.intake.is_token_expiring
    driven.session.refresh("new", now=driven.now)
    assert driven.flush()[0] == {"type": "refresh_token", "id": 2, "token": "new"}
