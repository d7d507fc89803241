"""Requests that wait for their replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway_client.errors import GatewayClientError, ReplyTimeout, RequestInterrupted

if TYPE_CHECKING:
    from gateway_client.protocol.codec import Frame
    from gateway_client.protocol.requests import Request

# Is called with the reply, of the type the request names, or with a GatewayClientError.
Done = Callable[[Any], None]


@dataclass
class Pending:
    """One request: what to write, and whom to tell.

    Attributes:
        request: What is asked; None for an operator's own type, known by `name` only.
        reply: What a reply is converted to; `dict` leaves it as it came.
        needs_session: It has to wait for `session_ready`; all but `connect` do.
        is_internal: It belongs to one link, and is neither repeated nor reported on the next.
        was_written: It may have reached the server.
    """

    request_id: int
    name: str
    frame: Frame
    done: Done
    deadline: float
    timeout_s: float
    request: Request | None = None
    reply: type[Any] = dict
    is_repeatable: bool = False
    needs_session: bool = True
    is_internal: bool = False
    was_written: bool = False


class PendingRequests:
    """The requests of a session by their ids, in the order they were made."""

    def __init__(self) -> None:
        self._by_id: dict[int, Pending] = {}

    @property
    def is_reply_due(self) -> bool:
        """Whether a reply has to be read."""
        return any(pending.was_written for pending in self._by_id.values())

    def add(self, pending: Pending) -> None:
        """Wait for a reply to this request."""
        self._by_id[pending.request_id] = pending

    def pop(self, request_id: int) -> Pending | None:
        """Stop waiting; None if nobody does."""
        return self._by_id.pop(request_id, None)

    def write(self, *, is_live: bool) -> list[Pending]:
        """Return the requests to write now, oldest first; they count as written from here on."""
        fresh = [
            pending
            for pending in self._by_id.values()
            if not pending.was_written and (is_live or not pending.needs_session)
        ]
        for pending in fresh:
            pending.was_written = True
        return fresh

    def expire(self, now: float) -> None:
        """Fail what has waited too long."""
        for pending in self._drain(lambda one: now >= one.deadline):
            pending.done(ReplyTimeout(pending.name, timeout_s=pending.timeout_s))

    def link_lost(self, *, may_repeat: bool) -> None:
        """Fail what must not be written twice; the rest is written again on the next link.

        Args:
            may_repeat: False if one of them may be what ended the link.
        """
        self._drain(lambda one: one.is_internal)
        for pending in self._drain(
            lambda one: one.was_written and not (one.is_repeatable and may_repeat)
        ):
            pending.done(RequestInterrupted(pending.name))
        for pending in self._by_id.values():
            pending.was_written = False

    def fail_all(self, error: GatewayClientError) -> None:
        """Nothing will be answered any more."""
        for pending in self._drain(lambda _one: True):
            pending.done(error)

    def _drain(self, matches: Callable[[Pending], bool]) -> list[Pending]:
        taken = [pending for pending in self._by_id.values() if matches(pending)]
        for pending in taken:
            del self._by_id[pending.request_id]
        return taken
