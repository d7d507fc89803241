"""Requests and messages of a session: what is repeated, what fails; without I/O."""

from __future__ import annotations

import pytest

from gateway_client import (
    FrameTooLarge,
    OutboxFull,
    RateLimited,
    ReplyTimeout,
    RequestInterrupted,
    RunActive,
)
from gateway_client.protocol.requests import GetHistory, Ping, RollbackContext
from tests.client.driven_session import C, DrivenSession, kinds


def test_request_that_may_be_repeated_is_written_again_after_a_drop():
    """Reading twice does no harm."""
    driven = DrivenSession().live()
    outcomes = driven.ask(GetHistory(conversation_id=C))
    driven.lose()
    driven.live()
    assert kinds(driven.flush()) == ["get_conversation_history"]
    driven.reply(type="conversation_history", conversation_id=C)
    assert outcomes[0].conversation_id == C


def test_request_that_must_not_be_repeated_fails_once_it_was_written():
    """Whether it was done is not known; one that was not written yet can wait."""
    driven = DrivenSession().live()
    written = driven.ask(RollbackContext(conversation_id=C, version=1))
    driven.lose()
    waiting = driven.ask(RollbackContext(conversation_id=C, version=1))
    assert isinstance(written[0], RequestInterrupted)
    driven.live()
    assert kinds(driven.flush()) == ["rollback_agent_context"]
    assert not waiting


def test_request_without_reply_fails_in_time():
    """10 s, the wait for a link included."""
    driven = DrivenSession().live()
    outcomes = driven.ask(Ping())
    driven.receive(type="hello")
    driven.pass_time(10)
    assert isinstance(outcomes[0], ReplyTimeout)


def test_message_is_sent_again_with_the_same_id_until_acknowledged():
    """A drop before the reply: the server tells one message from two by its id."""
    driven = DrivenSession().live()
    outcomes = driven.send("once")
    driven.lose()
    driven.live()
    (again,) = driven.flush()
    assert again["client_message_id"] == "once"
    driven.accept("once")
    assert outcomes[0].client_message_id == "once"
    driven.lose()
    driven.live()
    assert "send_message" not in kinds(driven.flush())


def test_message_refused_for_a_moment_is_sent_again_before_those_behind_it():
    """`rate_limited` is waited out, and nothing overtakes in the same conversation."""
    driven = DrivenSession().live()
    first, second = driven.send("first"), driven.send("second")
    other = driven.send("elsewhere", conversation_id="c_2")
    assert [one.get("content") for one in driven.written[1:]] == ["first", "elsewhere"]
    driven.session.receive(
        '{"type":"error","reply_to":2,"code":"rate_limited","retryable":true,"retry_after_ms":900}',
        driven.now,
    )
    assert [one.get("content") for one in driven.pass_time(1)] == ["first"]
    driven.receive(
        type="message_accepted",
        reply_to=2,
        conversation_id=C,
        message_id="m",
        client_message_id="first",
        epoch="e",
        offset=1,
    )
    assert [one.get("content") for one in driven.flush()] == ["second"]
    assert first
    assert not second
    assert not other


def test_message_refused_for_good_fails():
    """`run_active` is what the application asked for with `reject`."""
    driven = DrivenSession().live()
    outcomes = driven.send()
    driven.reply(type="error", code="run_active", message="", retryable=True)
    assert isinstance(outcomes[0], RunActive)
    assert not driven.session.exchange.unacknowledged()


def test_overdue_acknowledgement_drops_the_link():
    """A link on which a message is not answered is no good, even if it pongs."""
    driven = DrivenSession().live()
    driven.send()
    for _ in range(10):
        driven.pass_time(1)
        driven.receive(type="pong")
    driven.pass_time(0.5)
    assert driven.session.fault is not None


def test_outbox_is_bounded():
    """More than it may hold is refused, and not sent."""
    driven = DrivenSession(outbox_messages=2)
    driven.send("1")
    driven.send("2")
    with pytest.raises(OutboxFull):
        driven.send("3")


def test_frame_that_is_too_big_is_not_sent():
    """The server's limit is known, so it need not close the connection over it."""
    driven = DrivenSession().live()
    driven.receive(type="hello", limits={"max_frame_bytes": 1000})
    with pytest.raises(FrameTooLarge):
        driven.send("x" * 1000)


def test_frame_that_was_too_big_is_not_repeated():
    """1009: the largest message on its way fails; the others are sent again."""
    driven = DrivenSession().live()
    small, large = driven.send("s"), driven.send("l" * 500, conversation_id="c_2")
    driven.lose(1009)
    assert isinstance(large[0], FrameTooLarge)
    assert not small
    driven.live()
    assert [one["content"] for one in driven.flush()] == ["s"]


def test_error_replies_are_exceptions_with_facts():
    """Code, message, whether and when to try again."""
    driven = DrivenSession().live()
    outcomes = driven.ask(Ping())
    driven.reply(
        type="error", code="rate_limited", message="slow", retryable=True, retry_after_ms=5
    )
    (error,) = outcomes
    assert isinstance(error, RateLimited)
    assert (error.retry_after_ms, error.is_retryable) == (5, True)
