"""The state of the link, as the application sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`connecting` until the first session, then `live` or `resuming`, at last `closed`."""

    CONNECTING = "connecting"
    LIVE = "live"
    RESUMING = "resuming"
    CLOSED = "closed"


@dataclass(frozen=True)
class Status:
    """What `on_state` is told at every change.

    Attributes:
        state: Where the link is.
        reason: Why it is not live; empty if it is.
        attempt: How many connections in a row were of no use.
        retry_in_s: When the next attempt is made; None if none is planned or one is under way.
        was_resumed: Live, in the same session as before the drop. If not, the conversations are
            joined again at their cursors: the events go on without loss all the same.
        resume_failure: Why not: `unknown`, `expired`, `token_reused`.
        away_s: How long the session was away, as the server saw it.
    """

    state: State
    reason: str = ""
    attempt: int = 0
    retry_in_s: float | None = None
    was_resumed: bool = False
    resume_failure: str | None = None
    away_s: float | None = None
