"""Codes of the wire: what each tells a client to do."""

from __future__ import annotations

import pytest

from gateway.codes import CloseCode, ErrorCode

ACTIONS = {
    4000: "reconnect at once",
    4100: "reconnect after the delay",
    4200: "refresh the token first",
    4500: "do not reconnect",
}
RETRYABLE = {"run_active", "rate_limited", "unavailable", "timeout"}


def action(code: CloseCode) -> str:
    """Return what the hundred a code is in tells a client."""
    return ACTIONS[4500 if code >= 4500 else code // 100 * 100]


@pytest.mark.parametrize("code", [code for code in CloseCode if code >= 4000])
def test_every_private_close_code_is_in_a_range_that_tells_what_to_do(code: CloseCode) -> None:
    """And `disconnect.reconnect` agrees with the range."""
    assert code.may_reconnect == (action(code) != "do not reconnect")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (4001, "replaced"),
        (4002, "silent"),
        (4101, "draining"),
        (4102, "slow_consumer"),
        (4103, "rate_limited"),
        (4104, "unavailable"),
        (4201, "token_expired"),
        (4501, "unauthorized"),
        (4502, "forbidden"),
        (4503, "revoked"),
        (4504, "protocol_error"),
    ],
)
def test_close_codes_have_the_reasons_of_the_protocol(code: int, reason: str) -> None:
    """Numbers and words are a contract with clients."""
    assert CloseCode(code).reason == reason


def test_a_normal_end_is_not_followed_by_a_reconnect() -> None:
    """The client asked for it; a server fault, though, it may outlive."""
    assert not CloseCode.NORMAL.may_reconnect
    assert CloseCode.SERVER_FAULT.may_reconnect


@pytest.mark.parametrize("code", list(ErrorCode))
def test_error_codes_tell_if_a_repetition_may_help(code: ErrorCode) -> None:
    """Only what is about the moment may succeed later, unchanged."""
    assert code.is_retryable == (code.value in RETRYABLE)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_has_an_http_status_that_says_who_is_at_fault(code: ErrorCode) -> None:
    """5xx where the server could not, 4xx where the request may not."""
    is_servers = code in {ErrorCode.INTERNAL, ErrorCode.UNAVAILABLE, ErrorCode.TIMEOUT}
    assert (code.http_status >= 500) == is_servers
