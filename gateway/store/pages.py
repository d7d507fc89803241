"""The history of a conversation: read by page, and searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from gateway.protocol.unreadable import messages_of
from gateway.store.calls import ConversationCalls, in_one, position_of
from gateway.store.redis.scripts import ON_CONVERSATION, Script

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.protocol.json_text import JsonText
    from gateway.protocol.messages import Position
    from gateway.store.redis.declared import Value

PAGE_MESSAGES = 200  # of a page, at most; also of those that a search reads at once
PAGE_READS = 32  # scripts for one page, while all that each came across was deleted
SEARCH_MESSAGES = 10_000  # that one search looks at, of
SEARCH_BYTES = 8_388_608  # bytes: a fifth of a second of reading and matching
SEARCH_PAGE_BYTES = 262_144  # between two turns of the event loop


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as it is stored and sent (docs/protocol.md, message)."""

    message_id: str
    seq: int
    role: str
    author: str
    content: str | list[dict[str, object]]
    created_at: float
    client_message_id: str | None = None
    run_id: str | None = None
    status: str | None = None
    edited_at: float | None = None

    def text(self) -> str:
        """What it says: its content, or the texts of its parts."""
        if isinstance(self.content, str):
            return self.content
        parts = (part.get("text", "") for part in self.content)
        return " ".join(part for part in parts if isinstance(part, str))


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, the oldest first, at one position of the log.

    `next_seq`: where to go on, as `before` or `after`; None if there is no more.
    """

    messages: list[JsonText]
    has_more: bool
    position: Position
    next_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, the newest first.

    `next_seq`: older messages than this were not looked at; None if all were. `read_bytes`: of all
    messages that were.
    """

    messages: list[JsonText]
    next_seq: int | None = None
    read_bytes: int = 0


class Pages:
    """Reads the histories of all conversations."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._history = Script(
            "history", prelude=(*ON_CONVERSATION, "joining", "seen", "deleted", "pages")
        )

    async def page(
        self,
        caller: Caller,
        conversation_id: str,
        *,
        limit: int,
        before: int | None = None,
        after: int | None = None,
        max_bytes: int | None = None,
    ) -> Page:
        """Read a page: the newest, or those before or after a seq.

        Args:
            caller: who reads.
            conversation_id: what.
            limit: how many messages, at most.
            before: of those before this seq, the newest.
            after: of those after it, the oldest.
            max_bytes: of messages, at most, but one in any case; a frame, if left out.
        """
        way = "newest" if before is None and after is None else "before"
        if after is not None:
            way = "after"
        seq = after if after is not None else before or 0
        sizes: dict[str, Value] = {
            "limit": limit,
            "max_bytes": max_bytes or self._calls.settings.max_frame_bytes,
        }
        page = await self._read_page(caller, conversation_id, way=way, from_seq=seq, **sizes)
        for _ in range(PAGE_READS - 1):
            if page.messages or page.next_seq is None:
                break
            way = "before" if way == "newest" else way
            page = await self._read_page(
                caller, conversation_id, way=way, from_seq=page.next_seq, **sizes
            )
        return page

    async def _read_page(self, caller: Caller, conversation_id: str, **asked: Value) -> Page:
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        _, epoch, offset, next_seq, lists = await self._calls.run(
            self._history, caller, conversation_id, deleted_key=keys.deleted, **asked
        )
        messages = messages_of(in_one(lists), conversation_id)
        return Page(messages, next_seq is not None, position_of(epoch, offset), next_seq)

    async def search(
        self,
        caller: Caller,
        conversation_id: str,
        query: str,
        *,
        limit: int,
        before: int | None = None,
    ) -> Found:
        """Find messages whose text holds the query, ignoring case, the newest first.

        It looks at a bounded number of messages and bytes, a page at a time: other work gets its
        turn between two pages.
        """
        wanted, found = query.casefold(), Found([], before)
        messages_left = SEARCH_MESSAGES
        while len(found.messages) < limit and messages_left > 0 and found.read_bytes < SEARCH_BYTES:
            page = await self.page(
                caller,
                conversation_id,
                limit=min(PAGE_MESSAGES, messages_left),
                before=found.next_seq,
                max_bytes=SEARCH_PAGE_BYTES,
            )
            found = _with_matches(found, page, wanted, limit)
            messages_left -= len(page.messages)
            if found.next_seq is None or not page.messages:
                break
        return found


def _with_matches(found: Found, page: Page, wanted: str, limit: int) -> Found:
    """What was found with the page that comes next; it ends at the last that is wanted."""
    messages = list(found.messages)
    read_bytes = found.read_bytes + sum([len(item.data) for item in page.messages])
    for item in reversed(page.messages):
        message = msgspec.json.decode(item.data, type=Message)
        if wanted in message.text().casefold():
            messages.append(item)
            if len(messages) == limit:
                return Found(messages, message.seq, read_bytes)
    return Found(messages, page.next_seq, read_bytes)
