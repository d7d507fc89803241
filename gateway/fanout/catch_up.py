"""Catching up: what one connection's readers lack is taken from memory, else from the log.

In pages, at the pace its socket drains; a reader turns live at the moment it lacks nothing. At most
one task a connection does that, and only while some reader is behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.errors import NotFound, StoreError
from gateway.fanout.snapshots import snapshot_push
from gateway.protocol.batches import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from gateway.fanout.outbox import Outbox
    from gateway.fanout.reader import Reader
    from gateway.fanout.tail import Tail
    from gateway.fanout.topic import Topic
    from gateway.identity.caller import Caller
    from gateway.protocol.encoders import Encoder
    from gateway.protocol.messages import Position
    from gateway.protocol.publications import Publication
    from gateway.store.log import Cut, Log

CHUNK_BYTES = 16_384  # of a replay, put in at once
_RETRY_S = 0.5  # between reads of the log while Redis is away
BEAT_S = 0.025  # of those who fell behind: 10 MB/s for each, in pages of 256 KiB
_log = structlog.get_logger(__name__)


class CatchUp:
    """Brings the readers of one connection up to date.

    Args:
        log: where what memory lacks is read.
        outbox: of the connection.
        encoder: writes its snapshots.
        caller: who reads.
        check_soon: has a topic compared with its log.
        is_current: whether a reader still counts: its conversation was not left, nor joined anew.
        drop: stops reading a conversation.
        spawn: starts the connection's task.
    """

    __slots__ = (
        "_behind",
        "_caller",
        "_check_soon",
        "_drop",
        "_encoder",
        "_is_catching_up",
        "_is_current",
        "_log",
        "_outbox",
        "_spawn",
    )

    def __init__(
        self,
        log: Log,
        outbox: Outbox,
        encoder: Encoder,
        *,
        caller: Caller,
        check_soon: Callable[[Topic], None],
        is_current: Callable[[Reader], bool],
        drop: Callable[[str], None],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        self._log = log
        self._outbox = outbox
        self._encoder = encoder
        self._caller = caller
        self._check_soon = check_soon
        self._is_current = is_current
        self._drop = drop
        self._spawn = spawn
        self._behind: list[Reader] = []
        self._is_catching_up = False

    def fell_behind(self, reader: Reader) -> None:
        """Bring a reader up to date: at once from memory, else in the connection's one task."""
        if self._outbox.has_room and self._serve_from_memory(reader):
            return
        self._behind.append(reader)
        if not self._is_catching_up:
            self._is_catching_up = True
            self._spawn(self._catch_up_all())

    def deliver_at_once(self, reader: Reader, cut: Cut) -> None:
        """Deliver what was read with the cut, if it fits; the rest is caught up."""
        topic = reader.topic
        if topic.tail is not None:
            topic.tail.recall(cut.shared)  # for those who come back from the same absence
        if cut.snapshot is not None:
            self._deliver_snapshot(reader, cut, only_if_it_fits=True)
        reader.check_replay()
        if not self._outbox.has_room or not self._serve_from_memory(reader, has_read=True):
            self._deliver_page(reader, cut.events)
            self.fell_behind(reader)

    def learn(self, topic: Topic, cut: Cut, asked_at: Position | None) -> None:
        """Let a topic know what was read: that events are lost, or that it has another epoch."""
        topic.notice_loss(cut.position, asked_at=asked_at)
        heard_epoch = None if asked_at is None else asked_at.epoch
        if topic.epoch == heard_epoch != cut.position.epoch:
            topic.stand_at(cut.position)  # the log is ahead of what was heard
            self._check_soon(topic)  # or a master that was replaced has answered

    def _deliver_page(self, reader: Reader, events: list[Publication]) -> None:
        if sum([event.size for event in events]) <= self._outbox.room_bytes:
            for batch in batches(events, max_bytes=self._outbox.max_bytes):
                reader.deliver(batch)

    def _deliver_snapshot(self, reader: Reader, cut: Cut, *, only_if_it_fits: bool = False) -> None:
        push = snapshot_push(reader.conversation_id, cut, max_bytes=self._outbox.max_bytes // 4)
        frame = self._encoder.encode(push)
        if only_if_it_fits and len(frame) > self._outbox.room_bytes:
            reader.need_snapshot()  # it is read again when there is room
            return
        self._outbox.put(frame)
        reader.stand_at(cut.position)

    def _serve_from_memory(self, reader: Reader, *, has_read: bool = False) -> bool:
        """Deliver what memory has and go live, or wait for it; False if the log must be read.

        `has_read`: the log was, just now. Else who stands beyond what was heard must ask it: what a
        failover lost is heard by nobody.
        """
        tail, position = reader.topic.tail, reader.position
        if reader.must_ask and not has_read:
            return False
        missing = None if tail is None else tail.missing(position)
        if tail is None or missing is None or position.offset + missing < reader.owed:
            return False  # memory is of another epoch, or behind what was read
        if missing and not self._deliver_from(tail, reader):
            return False
        if position.offset <= tail.position.offset:
            reader.go_live()
        elif has_read:
            reader.wait_for_topic()
        else:
            return False
        return True

    def _deliver_from(self, tail: Tail, reader: Reader) -> bool:
        """Deliver what memory has; False if that is not all, too much, or not for everybody."""
        batch = tail.after(reader.position)
        if batch is None:
            return False
        is_single = len(batch.events) == 1  # it may be larger than the room there is
        if batch.size > self._outbox.room_bytes and not (is_single and self._outbox.has_room):
            return False
        if batch.is_from_log_only(self._caller.subject):
            return False  # memory cannot tell what this participant may have
        reader.deliver(batch)
        return True

    async def _catch_up_all(self) -> None:
        try:
            while self._behind and not self._outbox.is_finished:
                reader = self._behind.pop(0)
                if await self._is_served(reader):
                    continue
                if reader.lacks_room and len(reader.topic.readers) > 1:
                    await _beat()
                    if await self._is_served(reader):
                        continue
                if not await self._serve_from_log(reader):
                    self._behind.append(reader)
        finally:
            self._is_catching_up = False

    async def _is_served(self, reader: Reader) -> bool:
        """Wait for room; True if memory has all that the reader lacks, or it reads no more."""
        await self._outbox.room()
        return not self._is_current(reader) or self._serve_from_memory(reader)

    async def _serve_from_log(self, reader: Reader) -> bool:
        """Deliver a page of the log; True if there is nothing left to do for this reader."""
        asked_at = reader.topic.furthest
        try:
            cut = await self._log.read(self._caller, reader.conversation_id, reader.position)
        except NotFound:
            self._drop(reader.conversation_id)
            return True
        except StoreError as exc:
            _log.warning("replay_waits", conversation_id=reader.conversation_id, problem=str(exc))
            await asyncio.sleep(_RETRY_S)
            return False
        if cut.snapshot is not None:
            await self._outbox.room()  # it may have been taken meanwhile
        if not self._is_current(reader):
            return True
        reader.must_ask = False
        if cut.snapshot is not None:
            self._deliver_snapshot(reader, cut)
        if not await self._deliver_slowly(reader, cut.events):
            return True
        reader.cap_cut(cut.position.offset)
        self.learn(reader.topic, cut, asked_at)
        return self._serve_from_memory(reader, has_read=True)

    async def _deliver_slowly(self, reader: Reader, events: Sequence[Publication]) -> bool:
        """Deliver events at the client's pace; False if the reader is not the current one."""
        chunk_bytes = min(CHUNK_BYTES, self._outbox.max_bytes // 4)
        for batch in batches(events, max_bytes=chunk_bytes):
            await self._outbox.room()
            if not self._is_current(reader):
                return False
            if batch.events[0].offset == reader.position.offset + 1:
                reader.deliver(batch)
        return True


async def _beat() -> None:
    """Wait until the moment at which all who lack room read, in one tick (store/shared_reads.py).

    The clients of a room take a burst at much the same pace. Reading whenever one has room, each
    would cost Redis a reply of its own.
    """
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(BEAT_S - now % BEAT_S)
