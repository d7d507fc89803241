"""The log of a conversation: where a reader stands, and what they lack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.store.calls import ConversationCalls, position_of
from gateway.store.cuts import Cut, Snapshot
from gateway.store.redis.scripts import Script
from gateway.store.shared_reads import SharedReads

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.protocol.messages import Position

__all__ = ["Cut", "Log", "Snapshot"]
PAGE_EVENTS = 256  # events read at once; a page of ordinary deltas is some 50 KiB


class Log:
    """The logs of all conversations."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._reads = SharedReads(calls)
        self._check = Script("check")

    async def read(
        self,
        caller: Caller,
        conversation_id: str,
        cursor: Position | None,
        *,
        max_events: int = PAGE_EVENTS,
        known: Position | None = None,
    ) -> Cut:
        """Read what lies after `cursor`; the whole state if the log does not reach back so far.

        A cursor of an epoch that is not known, or beyond its end, gets a snapshot. Readers of one
        conversation in the same tick are answered by one script; a cut and its events may be
        shared, so nobody changes them.

        Args:
            caller: who reads, and must take part.
            conversation_id: what.
            cursor: the last event the caller has; None reads the position only.
            max_events: in the cut, at most; the first ones after the cursor.
            known: events after this position are in memory here. A cursor at or after it gets a
                tail without events.

        Raises:
            NotFound: no such conversation, or the caller takes no part.
        """
        in_memory = (
            cursor is not None
            and known is not None
            and cursor.epoch == known.epoch
            and cursor.offset >= known.offset
        )
        return await self._reads.read(
            caller, conversation_id, cursor, max_events=max_events, lacks_events=not in_memory
        )

    async def check(self, caller: Caller, conversation_id: str) -> Position | None:
        """Where the log stands; None if the conversation is gone. For a replica, not a client."""
        reply = await self._calls.run(self._check, caller, conversation_id)
        return position_of(*reply) if reply else None
