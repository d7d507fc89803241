"""What one connection reads: its conversations, each live or catching up.

A reader at a position takes events as they are heard; one that lacks some takes them from the
topic's tail in memory, else from the log, page by page at the pace its socket drains, and turns
live at the moment it lacks nothing. At most one task a connection does that, and only while some
reader is behind.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from gateway.errors import NotFound, StoreError, TooLarge
from gateway.fanout.reader import Reader, Replay
from gateway.fanout.snapshots import snapshot_push
from gateway.protocol.batches import batches
from gateway.protocol.messages import Live

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence

    from gateway.codes import CloseCode
    from gateway.fanout.hub import Hub
    from gateway.fanout.outbox import Outbox
    from gateway.fanout.tail import Tail
    from gateway.fanout.topic import Topic
    from gateway.identity.caller import Caller
    from gateway.protocol.encoders import Encoder
    from gateway.protocol.messages import Mode, Position
    from gateway.protocol.publications import Publication
    from gateway.store.log import Cut, Log

CHUNK_BYTES = 16_384  # of a replay, put in at once
_RETRY_S = 0.5  # between reads of the log while Redis is away
BEAT_S = 0.025  # of those who fell behind: 10 MB/s for each, in pages of 256 KiB
_log = structlog.get_logger(__name__)


class Prepared(msgspec.Struct, frozen=True):
    """A conversation about to be read: it is heard already, and this is what stood there.

    `cursor` is where the client stands; None with a `fresh` cut.
    """

    topic: Topic
    cut: Cut
    cursor: Position | None
    asked_at: Position | None = None  # how far the topic was known when the log was asked

    @property
    def mode(self) -> Mode:
        """How the reading begins."""
        return self.cut.mode

    @property
    def position(self) -> Position:
        """Where the log stood."""
        return self.cut.position

    @property
    def replayed(self) -> int:
        """How many events lie between the cursor and the cut."""
        if self.cut.mode != "tail" or self.cursor is None:
            return 0
        return self.cut.position.offset - self.cursor.offset


class Subscriptions:
    """The readers of one connection.

    Args:
        spawn: starts the connection's catch-up.
        fail: ends the connection, with a code that has the client come back.
    """

    __slots__ = (
        "_behind",
        "_fail",
        "_hub",
        "_is_catching_up",
        "_log",
        "_max_conversations",
        "_readers",
        "_spawn",
        "_topics",
        "caller",
        "connection_id",
        "encoder",
        "outbox",
    )

    def __init__(  # a connection's parts
        self,
        hub: Hub,
        log: Log,
        outbox: Outbox,
        encoder: Encoder,
        *,
        caller: Caller,
        connection_id: str,
        max_conversations: int,
        spawn: Callable[[Coroutine[None, None, None]], None],
        fail: Callable[[CloseCode], None],
    ) -> None:
        self.caller = caller
        self.connection_id = connection_id
        self.outbox = outbox
        self.encoder = encoder
        self._hub = hub
        self._log = log
        self._max_conversations = max_conversations
        self._spawn = spawn
        self._fail = fail
        self._topics: dict[str, Topic] = {}
        self._readers: dict[str, Reader] = {}
        self._behind: list[Reader] = []
        self._is_catching_up = False

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._readers

    def is_heard(self, conversation_id: str) -> bool:
        """Whether it is attached to, and heard: there is nothing to wait for."""
        reader = self._readers.get(conversation_id)
        return reader is not None and reader.topic.is_heard

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    async def hold(self, conversation_id: str) -> Topic:
        """Hear a conversation from now on, before anything is written.

        Raises:
            TooLarge: the session is attached to as many as it may.
            StoreUnavailable: the subscription was not confirmed.
        """
        topic = self._hold(conversation_id)
        if not topic.is_heard:
            try:
                await self._hub.wait_until_heard(topic)
            except BaseException:
                if conversation_id not in self._readers:
                    self.drop(conversation_id)
                raise
        return topic

    async def prepare(self, conversation_id: str, cursor: Position | None) -> Prepared:
        """Hear a conversation and read where it stands; `begin` does the rest.

        One round trip: the subscription and the read go out together. What is written between the
        two is found by a check of the topic, which needs no waiting for.

        Raises:
            NotFound: there is none, or the caller takes no part.
            TooLarge: the session is attached to as many as it may.
            StoreUnavailable: it cannot be read or heard.
        """
        old = self._readers.pop(conversation_id, None)
        if old is not None:
            old.end()  # joined anew: only the new reading counts
        topic = self._hold(conversation_id)
        was_heard, asked_at = topic.is_heard, topic.furthest
        try:
            since = None if topic.tail is None else topic.tail.since
            cut = await self._log.read(self.caller, conversation_id, cursor, known=since)
            if not was_heard:
                await self._hub.wait_until_heard(topic)
                self._hub.check_soon(topic)
        except BaseException:
            self.drop(conversation_id)
            raise
        return Prepared(topic, cut, cursor, asked_at)

    def _hold(self, conversation_id: str) -> Topic:
        topic = self._topics.get(conversation_id)
        if topic is None:
            if len(self._topics) >= self._max_conversations:
                limit = self._max_conversations
                raise TooLarge(f"a session attaches to at most {limit} conversations")
            topic = self._topics[conversation_id] = self._hub.hold(
                self.caller.tenant, conversation_id
            )
        return topic

    def begin(self, prepared: Iterable[Prepared], *, announce: bool) -> None:
        """Replay and go on live; with `announce`, `live` follows the last replayed event."""
        ready = list(prepared)
        cuts = {item.topic.conversation_id: item.cut.position.offset for item in ready}
        replay = Replay(cuts, set(cuts)) if announce else None
        for item in ready:
            reader = self._add(item.topic, item.cursor or item.cut.position, replay)
            self._learn(item.topic, item.cut, item.asked_at)
            self._deliver_at_once(reader, item.cut)
        if announce and not ready:
            self.reached_cut(cuts)

    def begin_at(self, conversation_id: str, position: Position, *, is_old: bool = False) -> None:
        """Read a held conversation on from a position, without an announcement.

        One that `is_old` may lie before what the subject sees: the log tells.
        """
        topic = self._topics.get(conversation_id)
        if topic is not None and conversation_id not in self._readers:
            reader = self._add(topic, position, None)
            reader.must_ask = is_old
            self.fell_behind(reader)

    def drop(self, conversation_id: str) -> None:
        """Stop reading a conversation."""
        reader = self._readers.pop(conversation_id, None)
        topic = self._topics.pop(conversation_id, None)
        if reader is not None:
            reader.end()
        if topic is not None:
            self._hub.release(topic)

    def expelled(self, conversation_id: str) -> None:
        """Stop reading a conversation whose participant the subject is no more."""
        self.drop(conversation_id)

    def failed(self, code: CloseCode) -> None:
        """End the connection, with a code that has the client come back."""
        self._fail(code)

    def close(self) -> None:
        """Stop reading everything."""
        for conversation_id in list(self._topics):
            self.drop(conversation_id)

    def reached_cut(self, cuts: dict[str, int]) -> None:
        """Tell the client that a replay is over."""
        self.push(Live(conversations=cuts))

    def push(self, message: msgspec.Struct) -> None:
        """Send something that is not in the log."""
        self.outbox.put(self.encoder.encode(message))

    def fell_behind(self, reader: Reader) -> None:
        """Bring a reader up to date: at once from memory, else in the connection's one task."""
        if self.outbox.has_room and self._serve_from_memory(reader):
            return
        self._behind.append(reader)
        if not self._is_catching_up:
            self._is_catching_up = True
            self._spawn(self._catch_up_all())

    def _add(self, topic: Topic, position: Position, replay: Replay | None) -> Reader:
        reader = Reader(
            topic,
            position,
            replay,
            subject=self.caller.subject,
            connection_id=self.connection_id,
            outbox=self.outbox,
            owner=self,
        )
        self._readers[topic.conversation_id] = reader
        topic.readers.add(reader)
        return reader

    def _deliver_at_once(self, reader: Reader, cut: Cut) -> None:
        """Deliver what was read with the cut, if it fits; the rest is caught up."""
        topic = reader.topic
        if topic.tail is not None:
            topic.tail.recall(cut.shared)  # for those who come back from the same absence
        if cut.snapshot is not None:
            self._deliver_snapshot(reader, cut, only_if_it_fits=True)
        reader.check_replay()
        if not self.outbox.has_room or not self._serve_from_memory(reader, has_read=True):
            self._deliver_page(reader, cut.events)
            self.fell_behind(reader)

    def _learn(self, topic: Topic, cut: Cut, asked_at: Position | None) -> None:
        """Let a topic know what was read: that events are lost, or that it has another epoch."""
        topic.notice_loss(cut.position, asked_at=asked_at)
        heard_epoch = None if asked_at is None else asked_at.epoch
        if topic.epoch == heard_epoch != cut.position.epoch:
            topic.stand_at(cut.position)  # the log is ahead of what was heard
            self._hub.check_soon(topic)  # or a master that was replaced has answered

    def _deliver_page(self, reader: Reader, events: list[Publication]) -> None:
        if sum([event.size for event in events]) <= self.outbox.room_bytes:
            for batch in batches(events, max_bytes=self.outbox.max_bytes):
                reader.deliver(batch)

    def _deliver_snapshot(self, reader: Reader, cut: Cut, *, only_if_it_fits: bool = False) -> None:
        push = snapshot_push(reader.conversation_id, cut, max_bytes=self.outbox.max_bytes // 4)
        frame = self.encoder.encode(push)
        if only_if_it_fits and len(frame) > self.outbox.room_bytes:
            reader.need_snapshot()  # it is read again when there is room
            return
        self.outbox.put(frame)
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
        if batch.size > self.outbox.room_bytes and not (is_single and self.outbox.has_room):
            return False
        if batch.is_from_log_only(self.caller.subject):
            return False  # memory cannot tell what this participant may have
        reader.deliver(batch)
        return True

    async def _catch_up_all(self) -> None:
        try:
            while self._behind and not self.outbox.is_finished:
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
        await self.outbox.room()
        return not self._is_current(reader) or self._serve_from_memory(reader)

    async def _serve_from_log(self, reader: Reader) -> bool:
        """Deliver a page of the log; True if there is nothing left to do for this reader."""
        asked_at = reader.topic.furthest
        try:
            cut = await self._log.read(self.caller, reader.conversation_id, reader.position)
        except NotFound:
            self.drop(reader.conversation_id)
            return True
        except StoreError as exc:
            _log.warning("replay_waits", conversation_id=reader.conversation_id, problem=str(exc))
            await asyncio.sleep(_RETRY_S)
            return False
        if cut.snapshot is not None:
            await self.outbox.room()  # it may have been taken meanwhile
        if not self._is_current(reader):
            return True
        reader.must_ask = False
        if cut.snapshot is not None:
            self._deliver_snapshot(reader, cut)
        if not await self._deliver_slowly(reader, cut.events):
            return True
        reader.cap_cut(cut.position.offset)
        self._learn(reader.topic, cut, asked_at)
        return self._serve_from_memory(reader, has_read=True)

    async def _deliver_slowly(self, reader: Reader, events: Sequence[Publication]) -> bool:
        """Deliver events at the client's pace; False if the reader is not the current one."""
        chunk_bytes = min(CHUNK_BYTES, self.outbox.max_bytes // 4)
        for batch in batches(events, max_bytes=chunk_bytes):
            await self.outbox.room()
            if not self._is_current(reader):
                return False
            if batch.events[0].offset == reader.position.offset + 1:
                reader.deliver(batch)
        return True

    def _is_current(self, reader: Reader) -> bool:
        """Whether the conversation was not left or joined anew meanwhile."""
        return self._readers.get(reader.conversation_id) is reader


async def _beat() -> None:
    """Wait until the moment at which all who lack room read, in one tick (store/shared_reads.py).

    The clients of a room take a burst at much the same pace. Reading whenever one has room, each
    would cost Redis a reply of its own.
    """
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(BEAT_S - now % BEAT_S)
