"""What a client does after a close: come back, when, with which token, or not at all.

The hundred a close code is in decides (docs/protocol.md, "Liveness, limits, closing"):

| codes       | what                                                                          |
| ----------- | ----------------------------------------------------------------------------- |
| 4000 - 4099 | at once; but 4001 `replaced` ends the client: it does not fight back          |
| 4100 - 4199 | after the delay told in `disconnect`, else with jitter                        |
| 4200 - 4299 | with a new token                                                              |
| 4500 - 4999 | not; but after 4501 `unauthorized` once more, if there may be another token   |
| all others  | with jitter, the first time fast: the network, a proxy or the server failed   |
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gateway_client.errors import AccessRefused, ClientClosed, LinkError, SessionReplaced

if TYPE_CHECKING:
    from random import Random

    from gateway_client.protocol.messages import Disconnect

# PROTOCOL: "full jitter 0.5-20 s".
MIN_DELAY_S = 0.5
MAX_DELAY_S = 20.0
# The first attempt after a drop: soon enough that a person does not notice, spread enough that the
# clients of one killed gateway do not come back in the same instant.
FIRST_DELAY_S = 0.25

# A delay that a server tells is believed up to here: beyond, it is wrong, and a client that waits
# for it is as good as dead.
MAX_TOLD_S = 3600.0

REPLACED = 4001
UNAVAILABLE = 4104
UNAUTHORIZED = 4501
LOST = 1006  # RFC 6455 7.4.1: never on the wire, there was no close frame
AT_ONCE = range(4000, 4100)
AS_TOLD = range(4100, 4200)
NEW_TOKEN = range(4200, 4300)
FINAL = range(4500, 5000)

_NO_CODE = frozenset({1005, LOST})
_REASONS = {
    1000: "the server closed the connection",
    1001: "the server is going away",
    1005: "the connection ended without a reason",
    1006: "the connection was lost",
    1009: "a frame was too big",
    1011: "the server failed",
    1012: "the server restarts",
}


class Next(Enum):
    """What comes after a close."""

    RECONNECT = "reconnect"
    REFRESH = "refresh"
    STOP = "stop"


@dataclass(frozen=True)
class Plan:
    """What to do, after which delay (seconds), and because of what."""

    next: Next
    delay_s: float
    error: LinkError | ClientClosed


def told_s(delay_ms: float | None) -> float:
    """Return the delay that a server tells, in seconds, as far as it can be; 0 if it tells none."""
    return min(max(0, delay_ms or 0), MAX_TOLD_S * 1000) / 1000


def jitter_s(attempt: int, random: Random) -> float:
    """Return a delay with full jitter: 0.5 s and up to 0.5 s · 2^attempt more, 20 s at most.

    Args:
        attempt: How many attempts failed in a row before this one.
        random: Where the jitter comes from.
    """
    spread_s = min(MAX_DELAY_S, MIN_DELAY_S * 2 ** min(attempt, 16))
    return min(MAX_DELAY_S, MIN_DELAY_S + random.uniform(0, spread_s))


def plan_after_close(
    code: int, *, reason: str, hint: Disconnect | None, attempt: int, random: Random
) -> Plan:
    """Decide what follows the close of a connection.

    Args:
        code: The close code; 1006 if the connection broke without one.
        reason: The close reason, or what broke.
        hint: The server's `disconnect` push, if it came.
        attempt: How many connections in a row ended before they were of use.
        random: Where the jitter comes from.
    """
    if hint is not None and code in _NO_CODE:
        code = hint.code  # the push came through, the close frame did not
    reason = (
        ((hint.message or hint.reason) if hint else "") or reason or _REASONS.get(code, "closed")
    )
    if code == REPLACED:
        return Plan(Next.STOP, 0.0, SessionReplaced(reason, code=code))
    if code in FINAL:
        return Plan(Next.STOP, 0.0, AccessRefused(reason, code=code))
    error = LinkError(reason, code=code)
    if code in NEW_TOKEN:
        return Plan(Next.REFRESH, 0.0 if attempt == 0 else jitter_s(attempt, random), error)
    return Plan(Next.RECONNECT, _delay_s(code, hint, attempt=attempt, random=random), error)


def _delay_s(code: int, hint: Disconnect | None, *, attempt: int, random: Random) -> float:
    backoff_s = jitter_s(attempt, random)
    if code in AS_TOLD:
        if hint is None:
            return backoff_s
        delay_s = told_s(hint.retry_after_ms) + random.uniform(0, told_s(hint.window_ms))
        return delay_s if attempt == 0 else max(delay_s, backoff_s)
    if attempt > 0:
        return backoff_s
    return 0.0 if code in AT_ONCE else random.uniform(0, FIRST_DELAY_S)
