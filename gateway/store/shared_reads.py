"""Reads of one conversation that are asked for in one tick of the loop, answered by one script.

When a replica dies its clients come back together, and read the same conversations from much the
same cursors. The first reader leads: it yields once, so that all that were about to read have
joined, makes the call, and answers everybody. If it is cancelled the next one leads.
"""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING

import msgspec

from gateway.errors import NotFound, StoreError
from gateway.identity.caller import Caller
from gateway.store.cuts import Cut, Cuts
from gateway.store.redis.scripts import ON_CONVERSATION, Script
from gateway.store.unseen import unseen_of

if TYPE_CHECKING:
    from gateway.protocol.messages import Position
    from gateway.store.calls import ConversationCalls
    from gateway.store.redis.declared import Value
    from gateway.store.redis.link import Reply

MAX_READERS = 500  # of one call: each costs Redis some 0.5 µs, and everybody else waits for it
SNAPSHOT_MESSAGES = 50  # as a page of history, when no limit is given
_NO_EPOCH = "-"  # of a cursor without an epoch: no log has it


class PendingRead(msgspec.Struct, eq=False):
    """One who reads. When its `turn` comes it has its outcome, or is to make the call.

    `lacks_events`: False if what lies after the cursor is in memory already.
    """

    subject: str
    cursor: Position | None
    max_events: int
    lacks_events: bool
    turn: asyncio.Future[None]
    outcome: Cut | BaseException | None = None
    is_beyond: bool = False  # of the bytes of one call: it is asked again


class Group(msgspec.Struct, eq=False):
    """The readers of one call: their cursors are of one epoch and lie within a page."""

    readers: list[PendingRead] = []
    subjects: dict[str, int] = {}  # each once, and which it is
    epoch: str = ""
    max_events: int = 0
    lowest: int | None = None  # cursor of those who lack events
    highest: int = 0
    leader: PendingRead | None = None

    def admits(self, reader: PendingRead) -> bool:
        """Whether one more reader costs the call next to nothing."""
        if len(self.readers) >= MAX_READERS:
            return False
        cursor = reader.cursor
        if cursor is None or not self.epoch:
            return True
        if (cursor.epoch or _NO_EPOCH) != self.epoch:
            return False
        if self.lowest is None or not reader.lacks_events:
            return True
        lowest, highest = min(self.lowest, cursor.offset), max(self.highest, cursor.offset)
        return highest - lowest <= max(self.max_events, reader.max_events)

    def add(self, reader: PendingRead) -> None:
        """Add a reader; the first one leads."""
        self.readers.append(reader)
        self.subjects.setdefault(reader.subject, len(self.subjects))
        if reader.cursor is not None:
            offset = reader.cursor.offset
            self.epoch = reader.cursor.epoch or _NO_EPOCH
            self.highest = max(self.highest, offset)
            if reader.lacks_events:
                self.max_events = max(self.max_events, reader.max_events)
                self.lowest = offset if self.lowest is None else min(self.lowest, offset)
        if self.leader is None:
            self.lead_on()

    def lead_on(self) -> None:
        """Let the next who still waits make the call."""
        self.leader = next((one for one in self.readers if not one.turn.done()), None)
        if self.leader is not None:
            self.leader.turn.set_result(None)

    def arguments(self, max_bytes: int) -> dict[str, Value]:
        """What read.lua is given."""
        lowest = self.highest if self.lowest is None else self.lowest
        return {
            "cursor_epoch": self.epoch,
            "lowest": lowest,
            "highest": self.highest,
            "max_events": self.highest - lowest + self.max_events,
            "snapshot_messages": SNAPSHOT_MESSAGES,
            "none_lacks": self.lowest is None,
            "max_bytes": max_bytes,
            "readers": tuple(self.subjects),
        }

    def answer(self, conversation_id: str, reply: list[Reply]) -> None:
        """Give everybody their own; what they can share is the same object."""
        cuts, takes_part = Cuts(conversation_id, reply), reply[2]
        unseen = [unseen_of(part) for part in takes_part]
        for reader in self.readers:
            number = self.subjects[reader.subject]
            if takes_part[number]:
                reader.outcome = cuts.after(
                    reader.cursor,
                    max_events=reader.max_events,
                    lacks_events=reader.lacks_events,
                    unseen=unseen[number],
                )
                reader.is_beyond = reader.outcome is None
            else:
                reader.outcome = NotFound()
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Fail everybody; each with an error of their own, which takes their traceback."""
        for reader in self.readers:
            reader.outcome = copy.copy(error)
        self._wake()

    def _wake(self) -> None:
        for reader in self.readers:
            if not reader.turn.done():
                reader.turn.set_result(None)


class SharedReads:
    """The reads under way at this replica."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        parts = ("names", "state", "joining", "deleted", "pages")
        self._script = Script("read", prelude=(*ON_CONVERSATION, *parts))
        self._max_bytes = calls.settings.outbox_bytes // 4  # as of a snapshot (attachments.py)
        self._joinable: dict[tuple[str, str], list[Group]] = {}

    async def read(
        self,
        caller: Caller,
        conversation_id: str,
        cursor: Position | None,
        *,
        max_events: int,
        lacks_events: bool,
    ) -> Cut:
        """Read, with whoever reads the same in this tick; cancelling it costs nobody else.

        Who is furthest may have to ask again: one call brings a bounded number of bytes, and at
        least an event of who lacks most.
        """
        while True:
            reader = await self._read_once(
                caller, conversation_id, cursor, max_events=max_events, lacks_events=lacks_events
            )
            if not reader.is_beyond:
                break
        outcome = reader.outcome
        if not isinstance(outcome, Cut):
            raise outcome or StoreError("a read had no outcome")
        return outcome

    async def _read_once(
        self,
        caller: Caller,
        conversation_id: str,
        cursor: Position | None,
        *,
        max_events: int,
        lacks_events: bool,
    ) -> PendingRead:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reader = PendingRead(caller.subject, cursor, max_events, lacks_events, turn)
        group = self._join(caller.tenant, conversation_id, reader)
        try:
            await reader.turn
            if reader.outcome is None and not reader.is_beyond:
                await self._lead(group, caller.tenant, conversation_id)
        except asyncio.CancelledError:
            if group.leader is reader:
                group.lead_on()
            raise
        return reader

    def _join(self, tenant: str, conversation_id: str, reader: PendingRead) -> Group:
        groups = self._joinable.setdefault((tenant, conversation_id), [])
        group = next((one for one in groups if one.admits(reader)), None)
        if group is None:
            group = Group()
            groups.append(group)
        group.add(reader)
        return group

    async def _lead(self, group: Group, tenant: str, conversation_id: str) -> None:
        try:
            await asyncio.sleep(0)  # the others of this tick join
            self._close(group, tenant, conversation_id)
            everybody = Caller(tenant, "")  # read.lua tells for each whether they take part
            keys = self._calls.keys.conversation(tenant, conversation_id)
            reply = await self._calls.run(
                self._script,
                everybody,
                conversation_id,
                absent_key=keys.absent,
                deleted_key=keys.deleted,
                **group.arguments(self._max_bytes),
            )
            group.answer(conversation_id, reply)
        except asyncio.CancelledError:
            raise
        except BaseException as exc:
            group.fail(exc)
            raise

    def _close(self, group: Group, tenant: str, conversation_id: str) -> None:
        """Nobody joins any more; it may be closed already, by a leader that was cancelled."""
        groups = self._joinable.get((tenant, conversation_id), [])
        if group in groups:
            groups.remove(group)
        if not groups:
            self._joinable.pop((tenant, conversation_id), None)
