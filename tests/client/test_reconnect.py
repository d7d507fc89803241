"""Every close code has one consequence."""

from __future__ import annotations

from random import Random

import pytest

from gateway_client import AccessRefused, LinkError, SessionReplaced
from gateway_client.protocol.messages import Disconnect
from gateway_client.session.reconnect import (
    MAX_DELAY_S,
    MIN_DELAY_S,
    Next,
    jitter_s,
    plan_after_close,
)


def plan(code, *, hint=None, attempt=0):
    """Plan with a seeded jitter."""
    return plan_after_close(code, reason="", hint=hint, attempt=attempt, random=Random(7))


def test_replaced_session_does_not_fight_back():
    """4001 ends the client, though the hundred it is in reconnects at once."""
    assert plan(4001).next is Next.STOP
    assert isinstance(plan(4001).error, SessionReplaced)


def test_silent_close_reconnects_at_once():
    """4002 and what may come beside it need no delay; but only the first time."""
    assert plan(4002).delay_s == 0.0
    assert plan(4099).delay_s == 0.0
    assert plan(4002, attempt=1).delay_s >= MIN_DELAY_S


def test_draining_reconnects_within_the_window_that_was_told():
    """4101 with a hint: after `retry_after_ms`, spread over `window_ms`."""
    hint = Disconnect(code=4101, retry_after_ms=2000, window_ms=3000)
    delays = [
        plan_after_close(4101, reason="", hint=hint, attempt=0, random=Random(n)).delay_s
        for n in range(200)
    ]
    assert min(delays) >= 2.0
    assert max(delays) <= 5.0
    assert max(delays) - min(delays) > 2.5


def test_slow_consumer_without_hint_waits_with_jitter():
    """4102 without `disconnect`: full jitter from 0.5 s on."""
    assert plan(4102).delay_s >= MIN_DELAY_S


def test_hint_counts_when_the_close_frame_is_lost():
    """`disconnect` came and then the connection broke: its code is the close code."""
    assert plan(1006, hint=Disconnect(code=4001)).next is Next.STOP


def test_expired_token_is_refreshed_first():
    """42xx: a new token, then at once; with jitter if that did not help."""
    assert plan(4201).next is Next.REFRESH
    assert plan(4201).delay_s == 0.0
    assert plan(4201, attempt=2).delay_s >= MIN_DELAY_S


@pytest.mark.parametrize("code", [4501, 4502, 4503, 4504, 4999])
def test_refusal_is_final(code):
    """45xx and above: do not reconnect."""
    assert plan(code).next is Next.STOP
    assert isinstance(plan(code).error, AccessRefused)


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1009, 1011, 1012, 3000, 4300])
def test_other_closes_reconnect_fast_once_and_then_with_jitter(code):
    """The network or the server failed: the first attempt is fast, those after it are spread."""
    assert plan(code).next is Next.RECONNECT
    assert plan(code).delay_s <= 0.25
    assert plan(code, attempt=1).delay_s >= MIN_DELAY_S
    assert isinstance(plan(code).error, LinkError)


def test_jitter_grows_to_its_limit():
    """Full jitter: from 0.5 s to 20 s, however often it failed."""
    delays = [jitter_s(attempt, Random(n)) for attempt in (0, 3, 6, 10_000) for n in range(50)]
    assert min(delays) >= MIN_DELAY_S
    assert max(delays) <= MAX_DELAY_S
    assert max(delays) > 15
