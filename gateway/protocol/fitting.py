"""Pages of messages kept to a size that a socket takes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.protocol.json_text import JsonText


def newest_that_fit(messages: list[JsonText], *, max_bytes: int) -> tuple[list[JsonText], bool]:
    """The newest messages of at most `max_bytes`, at least one; and whether any fell out."""
    kept = oldest_that_fit(messages[::-1], max_bytes=max_bytes)[0]
    return kept[::-1], len(kept) < len(messages)


def oldest_that_fit(messages: list[JsonText], *, max_bytes: int) -> tuple[list[JsonText], bool]:
    """The first messages of at most `max_bytes`, at least one; and whether any fell out."""
    total = 0
    for count, message in enumerate(messages):
        total += len(message.data)
        if total > max_bytes and count:
            return messages[:count], True
    return messages, False
