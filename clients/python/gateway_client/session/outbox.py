"""Messages that were said and not yet acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_client.errors import OutboxFull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_client.errors import GatewayClientError
    from gateway_client.protocol.codec import Frame
    from gateway_client.protocol.requests import SendMessage
    from gateway_client.session.pending import Done


@dataclass
class Unacknowledged:
    """One message: sent again, with the same `client_message_id`, until the server answers.

    `done` is None for a message restored from an earlier run of the program: nobody waits for it.
    """

    request: SendMessage
    frame: Frame
    size_bytes: int
    done: Done | None = None
    written_at: float | None = None
    not_before: float = 0.0
    refusals: int = 0

    @property
    def lane(self) -> str | int:
        """Messages of one lane are written one at a time, so they are accepted in order.

        A message without a conversation makes one of its own, and so waits for nobody.
        """
        return self.request.conversation_id or self.request.id

    def postpone(self, *, until: float) -> None:
        """The server asked to come again later; the lane waits with it."""
        self.written_at = None
        self.not_before = until
        self.refusals += 1


class Outbox:
    """Unacknowledged messages in the order they were said.

    Bounded by messages and bytes; when it is full, `send` raises `OutboxFull`. In one conversation
    only the oldest is on its way: if two were, and the first were refused for a moment
    (`rate_limited`), the second could be accepted before it.
    """

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self._by_id: dict[int, Unacknowledged] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Unacknowledged]:
        return iter(list(self._by_id.values()))

    @property
    def is_reply_due(self) -> bool:
        """Whether a reply has to be read."""
        return any(entry.written_at is not None for entry in self._by_id.values())

    def add(self, entry: Unacknowledged) -> None:
        """Keep a message until it is acknowledged.

        Raises:
            OutboxFull: It was not taken.
        """
        size_bytes = self._bytes + entry.size_bytes
        if len(self._by_id) >= self.max_messages or size_bytes > self.max_bytes:
            raise OutboxFull(messages=len(self._by_id), size_bytes=self._bytes)
        self._by_id[entry.request.id] = entry
        self._bytes = size_bytes

    def pop(self, request_id: int) -> Unacknowledged | None:
        """The server has answered for good."""
        entry = self._by_id.pop(request_id, None)
        if entry is not None:
            self._bytes -= entry.size_bytes
        return entry

    def get(self, request_id: int) -> Unacknowledged | None:
        """The message with this id, if it waits here."""
        return self._by_id.get(request_id)

    def write(self, now: float) -> list[Unacknowledged]:
        """Return the messages to write now, oldest first; they count as written from here on."""
        due = []
        lanes: set[str | int] = set()
        for entry in self._by_id.values():
            if entry.lane in lanes:
                continue
            lanes.add(entry.lane)
            if entry.written_at is None and now >= entry.not_before:
                entry.written_at = now
                due.append(entry)
        return due

    def is_overdue(self, now: float, *, timeout_s: float) -> bool:
        """Whether the server owes an answer for longer than `timeout_s`: the link is no good."""
        return any(
            entry.written_at is not None and now - entry.written_at >= timeout_s
            for entry in self._by_id.values()
        )

    def largest_written(self) -> Unacknowledged | None:
        """The largest message on its way: what a server that closed with 1009 may have meant."""
        written = [entry for entry in self._by_id.values() if entry.written_at is not None]
        return max(written, key=lambda entry: entry.size_bytes, default=None)

    def link_lost(self) -> None:
        """All of it is written again on the next link."""
        for entry in self._by_id.values():
            entry.written_at = None

    def fail_waiters(self, error: GatewayClientError) -> None:
        """Tell those who wait; the messages stay, for `reconnect()` or the next program run."""
        for entry in self._by_id.values():
            if entry.done is not None:
                entry.done(error)
                entry.done = None
