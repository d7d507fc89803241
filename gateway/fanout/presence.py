"""Who is there: told to their conversations a moment later, and only if it is still news.

A device that changes networks goes and comes back at once; a replica that dies sends a thousand of
them elsewhere. What happens to one subject within the moment is told once, or not at all.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from msgspec.json import encode

from gateway.errors import StoreError
from gateway.protocol.messages import Presence
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.identity.caller import Caller
    from gateway.store.store import Store

MOMENT_S = 0.2
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _News:
    was_online: bool
    is_online: bool
    connection_id: str  # which need not hear it


class PresenceAnnouncer:
    """Collects who came and went here, and tells it. Best effort: nothing of it is kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._news: dict[tuple[str, str], dict[str, _News]] = defaultdict(dict)
        self._filled = asyncio.Event()

    def tell(
        self, caller: Caller, connection_id: str, conversations: Iterable[str], *, is_online: bool
    ) -> None:
        """A subject came or went."""
        for conversation_id in conversations:
            of_conversation = self._news[caller.tenant, conversation_id]
            news = of_conversation.get(caller.subject)
            if news is None:
                of_conversation[caller.subject] = _News(not is_online, is_online, connection_id)
            else:
                news.is_online, news.connection_id = is_online, connection_id
        if self._news:
            self._filled.set()

    async def run(self) -> None:
        """Tell what is collected, until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(MOMENT_S)
            await self.tell_now()

    async def tell_now(self) -> None:
        """Tell all that is collected: one call a conversation."""
        self._filled.clear()
        collected, self._news = self._news, defaultdict(dict)
        try:
            await together(
                self._tell_one(tenant, conversation_id, of_conversation)
                for (tenant, conversation_id), of_conversation in collected.items()
            )
        except StoreError as exc:
            _log.warning("presence_not_sent", conversations=len(collected), problem=str(exc))

    async def _tell_one(
        self, tenant: str, conversation_id: str, of_conversation: dict[str, _News]
    ) -> None:
        told = {
            subject: news
            for subject, news in of_conversation.items()
            if news.is_online != news.was_online
        }
        if not told:
            return
        pushes = [
            (
                who,
                encode(Presence(conversation_id=conversation_id, subject=who, online=n.is_online)),
            )
            for who, n in told.items()
        ]
        # A connection need not be told of itself; told of others, it is told of all.
        origin = next(iter(told.values())).connection_id if len(told) == 1 else ""
        await self._store.conversations.tell_presence(tenant, conversation_id, origin, pushes)
