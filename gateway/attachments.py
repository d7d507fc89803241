"""What one connection reads: its conversations, each live or catching up.

A reader at a position takes events as they are heard; one that lacks some takes them from the
topic's tail in memory, else from the log, page by page at the pace its socket drains, and turns
live at the moment it lacks nothing. At most one task a connection does that, and only while some
reader is behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gateway.errors import NotFound, StoreError, TooLarge
from gateway.messages import Live, Position
from gateway.reader import ConversationReader, Replay
from gateway.recovery import Verdict, judge
from gateway.snapshots import snapshot_push

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from gateway.codecs import FrameEncoder
    from gateway.hub import Hub, Topic
    from gateway.messages import Mode
    from gateway.outbox import Outbox
    from gateway.published import Published
    from gateway.store.calls import Caller
    from gateway.store.log import Cut, Log

_NOWHERE = Position("", -1)  # of a reader whose client is still owed a snapshot
_RETRY_S = 0.5  # between reads of the log while Redis is away
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A conversation about to be read: it is heard already, and this is what stood there.

    `cursor` is where the client stands; None with a `fresh` cut.
    """

    topic: Topic
    cut: Cut
    cursor: Position | None

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


class Attachments:
    """The readers of one connection.

    Args:
        spawn: starts a named task in the connection's group.
    """

    def __init__(  # a connection's parts
        self,
        hub: Hub,
        log: Log,
        outbox: Outbox,
        encoder: FrameEncoder,
        *,
        caller: Caller,
        connection_id: str,
        max_conversations: int,
        spawn: Callable[[str, Coroutine[None, None, None]], None],
    ) -> None:
        self.caller = caller
        self.connection_id = connection_id
        self.outbox = outbox
        self.encoder = encoder
        self._hub = hub
        self._log = log
        self._max_conversations = max_conversations
        self._spawn = spawn
        self._topics: dict[str, Topic] = {}
        self._readers: dict[str, ConversationReader] = {}
        self._behind: deque[ConversationReader] = deque()
        self._is_catching_up = False
        self._opening = 0  # holds under way

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    async def hold(self, conversation_id: str) -> Topic:
        """Hear a conversation from now on, before anything is read or written.

        Raises:
            TooLarge: the session is attached to as many as it may.
            StoreUnavailable: the subscription was not confirmed.
        """
        topic = self._topics.get(conversation_id)
        if topic is not None:
            return topic
        if len(self._topics) + self._opening >= self._max_conversations:
            raise TooLarge(f"a session attaches to at most {self._max_conversations} conversations")
        self._opening += 1
        try:
            topic = await self._hub.open(self.caller.tenant, conversation_id)
        finally:
            self._opening -= 1
        if conversation_id in self._topics:  # two at once: one hold is enough
            self._hub.release(topic)
        self._topics[conversation_id] = topic
        return topic

    async def prepare(self, conversation_id: str, cursor: Position | None) -> Prepared:
        """Hear a conversation and read where it stands; `begin` does the rest.

        Raises:
            NotFound: there is none, or the caller takes no part.
        """
        old = self._readers.pop(conversation_id, None)
        if old is not None:
            old.topic.readers.discard(old)  # joined anew: only the new reading counts
            old.abandon_replay()
        try:
            topic = await self.hold(conversation_id)
            cut = await self._log.read(self.caller, conversation_id, cursor)
        except BaseException:
            self.drop(conversation_id)
            raise
        return Prepared(topic, cut, cursor)

    def begin(self, prepared: Iterable[Prepared], *, announce: bool) -> None:
        """Replay and go on live; with `announce`, `live` follows the last replayed event."""
        ready = list(prepared)
        cuts = {item.topic.conversation_id: item.cut.position.offset for item in ready}
        replay = Replay(cuts, set(cuts)) if announce else None
        for item in ready:
            reader = self._add(item.topic, item.cursor or item.cut.position, replay)
            self._deliver_at_once(reader, item.cut)
        if announce and not ready:
            self.send_live(cuts)

    def begin_at(self, conversation_id: str, position: Position) -> None:
        """Read a held conversation on from a position, without an announcement."""
        topic = self._topics.get(conversation_id)
        if topic is not None and conversation_id not in self._readers:
            self.catch_up(self._add(topic, position, None))

    def drop(self, conversation_id: str) -> None:
        """Stop reading a conversation."""
        reader = self._readers.pop(conversation_id, None)
        topic = self._topics.pop(conversation_id, None)
        if reader is not None:
            reader.topic.readers.discard(reader)
            reader.abandon_replay()
        if topic is not None:
            self._hub.release(topic)

    def close(self) -> None:
        """Stop reading everything."""
        for conversation_id in list(self._topics):
            self._readers.pop(conversation_id, None)
            topic = self._topics.pop(conversation_id)
            topic.readers = {
                reader for reader in topic.readers if reader.connection_id != self.connection_id
            }
            self._hub.release(topic)

    def send_live(self, cuts: dict[str, int]) -> None:
        """Tell the client that a replay is over."""
        self.outbox.put(self.encoder.encode(Live(conversations=cuts)))

    def catch_up(self, reader: ConversationReader) -> None:
        """Bring a reader up to date: at once from memory, else in the connection's one task."""
        if self.outbox.has_room and self._serve_from_memory(reader):
            return
        self._behind.append(reader)
        if not self._is_catching_up:
            self._is_catching_up = True
            self._spawn("catch-up", self._catch_up_all())

    def _add(self, topic: Topic, position: Position, replay: Replay | None) -> ConversationReader:
        reader = ConversationReader(self, topic, position, replay)
        self._readers[topic.conversation_id] = reader
        topic.readers.add(reader)
        return reader

    def _deliver_at_once(self, reader: ConversationReader, cut: Cut) -> None:
        """Deliver what was read with the cut, if it fits; the rest is caught up."""
        if reader.topic.tail is None:
            reader.topic.stand_at(cut.position)
        if cut.snapshot is not None:
            self._deliver_snapshot(reader, cut, only_if_it_fits=True)
        elif self._fits(cut.events):
            for event in cut.events:
                reader.deliver(event)
        reader.check_replay()
        self.catch_up(reader)

    def _deliver_snapshot(
        self, reader: ConversationReader, cut: Cut, *, only_if_it_fits: bool = False
    ) -> None:
        push = snapshot_push(reader.conversation_id, cut, max_bytes=self.outbox.max_bytes // 4)
        frame = self.encoder.encode(push)
        if only_if_it_fits and len(frame) > self.outbox.room_bytes:
            reader.position = _NOWHERE  # it is read again when there is room
            return
        self.outbox.put(frame)
        reader.stand_at(cut.position)

    def _fits(self, events: list[Published]) -> bool:
        return sum(event.size for event in events) <= self.outbox.room_bytes

    def _serve_from_memory(self, reader: ConversationReader) -> bool:
        """Deliver what memory has and go live; False if the log must be read."""
        tail = reader.topic.tail
        events = tail.after(reader.position) if tail is not None else None
        if events is None or not self._fits(events):
            return False
        if reader.position.offset + len(events) < reader.owed:
            return False  # memory is behind what was read
        if any(event.leaver == self.caller.subject for event in events):
            return False  # the log is read by participants only; memory cannot tell
        for event in events:
            reader.deliver(event)
        reader.is_live = True
        reader.check_replay()
        return True

    async def _catch_up_all(self) -> None:
        try:
            while self._behind and not self.outbox.is_finished:
                reader = self._behind.popleft()
                await self.outbox.room()
                if not self._is_current(reader):
                    continue
                if not self._serve_from_memory(reader) and not await self._serve_from_log(reader):
                    self._behind.append(reader)
        finally:
            self._is_catching_up = False

    async def _serve_from_log(self, reader: ConversationReader) -> bool:
        """Deliver a page of the log; True if there is nothing left to do for this reader."""
        heard_epoch = reader.topic.epoch
        try:
            cut = await self._log.read(self.caller, reader.conversation_id, reader.position)
        except NotFound:
            self.drop(reader.conversation_id)
            return True
        except StoreError as exc:
            _log.warning("replay_waits", conversation_id=reader.conversation_id, problem=str(exc))
            await asyncio.sleep(_RETRY_S)
            return False
        if not self._is_current(reader):
            return True
        if cut.snapshot is not None:
            self._deliver_snapshot(reader, cut)
        for event in cut.events:
            await self.outbox.room()
            if not self._is_current(reader):
                return True
            if judge(reader.position, event.epoch, event.offset) is Verdict.NEXT:
                reader.deliver(event)  # else memory was quicker
        reader.owe_at_most(cut.position.offset)
        if reader.topic.epoch == heard_epoch != cut.position.epoch:
            reader.topic.stand_at(cut.position)  # the log is ahead of what was heard
        return self._serve_from_memory(reader)

    def _is_current(self, reader: ConversationReader) -> bool:
        """Whether the conversation was not left or joined anew meanwhile."""
        return self._readers.get(reader.conversation_id) is reader
