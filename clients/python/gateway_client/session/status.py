"""The state of the link, as the application sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`connecting` until the first session, then `live` or `resuming`, finally `closed`."""

    CONNECTING = "connecting"
    LIVE = "live"
    RESUMING = "resuming"
    CLOSED = "closed"


@dataclass(frozen=True)
class Status:
    """What `on_state` is called with at every change.

    Attributes:
        state: The state of the link.
        reason: Why it is not live; empty if it is.
        attempt: How many attempts in a row have failed.
        retry_in_s: Seconds until the next attempt; None if none is planned or one is in progress.
        was_resumed: Whether it is live in the same session as before the drop. If not, the
            conversations are joined again at their cursors, so no event is lost either way.
        resume_failure: Why it is not the same session: `unknown`, `expired`, `token_reused`.
        away_s: How long the session was away, as the server saw it.
    """

    state: State
    reason: str = ""
    attempt: int = 0
    retry_in_s: float | None = None
    was_resumed: bool = False
    resume_failure: str | None = None
    away_s: float | None = None
