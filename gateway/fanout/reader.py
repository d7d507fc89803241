"""One connection's reading of one conversation: live, or behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.protocol.batches import Batch
from gateway.protocol.messages import EpochChanged, Position

if TYPE_CHECKING:
    from gateway.codes import CloseCode
    from gateway.fanout.outbox import Outbox
    from gateway.fanout.topic import Topic
    from gateway.protocol.batches import Pushes
    from gateway.protocol.publications import Publication

_NOWHERE = Position("", -1)


class Replay(msgspec.Struct):
    """A replay that was announced: `live` follows when all its readers have reached their cut."""

    cuts: dict[str, int]
    waiting: set[str]


class ReaderOwner(Protocol):
    """Whose reader it is: told what the reader cannot do by itself."""

    def push(self, message: msgspec.Struct) -> None:
        """Send something that is not in the log."""

    def fell_behind(self, reader: Reader) -> None:
        """It lacks events after its position: have it caught up."""

    def reached_cut(self, cuts: dict[str, int]) -> None:
        """All readers of an announced replay have reached their cut."""

    def expelled(self, conversation_id: str) -> None:
        """The subject takes no part any more: drop the reader."""

    def failed(self, code: CloseCode) -> None:
        """It could not take what was given to it, or what it reads is gone: end the connection."""


class Reader:
    """The `TopicReader` of one connection.

    While `is_live` it stands where its topic stands, and takes the hub's events as they come;
    otherwise it stands at the last event put into the connection's outbox, and is caught up from
    memory or the log.
    """

    __slots__ = (
        "_outbox",
        "_owner",
        "_position",
        "connection_id",
        "conversation_id",
        "is_live",
        "lacks_room",
        "must_ask",
        "replay",
        "subject",
        "topic",
    )

    def __init__(
        self,
        topic: Topic,
        position: Position,
        replay: Replay | None,
        *,
        subject: str,
        connection_id: str,
        outbox: Outbox,
        owner: ReaderOwner,
    ) -> None:
        self.conversation_id = topic.conversation_id
        self.topic = topic
        self.is_live = False
        self.lacks_room = False  # it fell behind as its client takes less than there is
        self.must_ask = False  # the log, before memory is good enough
        self.replay = replay
        self.subject = subject
        self.connection_id = connection_id
        self._outbox = outbox
        self._owner = owner
        self._position = position

    @property
    def position(self) -> Position:
        """The last event put into the connection's outbox."""
        tail = self.topic.tail
        return tail.position if self.is_live and tail is not None else self._position

    def take(self, batch: Batch) -> None:
        """Send the next events; those without room are left in the log, and read when there is."""
        events = batch.events
        taken = self._outbox.put_live(batch)
        if taken < len(events):
            self.lacks_room = True
            self.fall_behind(Position(events[taken].epoch, events[taken].offset - 1))

    def take_rest(self, batch: Batch) -> None:
        """Send what is beyond this reader's position, and go live if the topic has come so far."""
        at, last = self._position, batch.events[-1]
        if last.epoch != at.epoch:
            self.fall_behind(at)
        elif last.offset >= at.offset:
            rest = [event for event in batch.events if event.offset > at.offset]
            self.topic.ahead.discard(self)
            self.go_live()
            if rest:
                self.take(Batch(rest))

    def deliver(self, batch: Batch) -> None:
        """Send events of a replay, which are of one epoch, and stand behind them."""
        first, last = batch.events[0], batch.events[-1]
        if first.epoch != self._position.epoch:
            self._rename(Position(first.epoch, first.offset - 1))
        self._outbox.put(batch)
        self._position = Position(last.epoch, last.offset)
        if self.replay is not None:
            self.check_replay()

    def go_live(self) -> None:
        """Stand where the topic stands, which is where this reader stands."""
        self.is_live, self.lacks_room = True, False
        self.topic.live.add(self)
        self.check_replay()

    def wait_for_topic(self) -> None:
        """Wait until the topic has come as far as this reader."""
        self.topic.ahead.add(self)
        self.check_replay()

    def end(self) -> None:
        """Read no more."""
        self._position, self.is_live = self.position, False
        self.topic.live.discard(self)
        self.topic.ahead.discard(self)
        self.topic.readers.discard(self)
        self.abandon_replay()

    @property
    def owed(self) -> int:
        """The offset up to which the client was promised events."""
        return 0 if self.replay is None else self.replay.cuts[self.conversation_id]

    def cap_cut(self, offset: int) -> None:
        """The log ends at `offset`: no more than that can be awaited."""
        if self.replay is not None:
            self.replay.cuts[self.conversation_id] = min(self.owed, offset)

    def stand_at(self, position: Position) -> None:
        """Stand where a snapshot put the client."""
        self._position = position
        if self.replay is not None:
            self.replay.cuts[self.conversation_id] = position.offset

    def _rename(self, place: Position) -> None:
        """Tell the client that the place where it stands has another name from now on."""
        self._owner.push(
            EpochChanged(conversation_id=self.conversation_id, from_=self._position, to=place)
        )
        self._position = place

    def need_snapshot(self) -> None:
        """The client is still owed a snapshot."""
        self._position = _NOWHERE

    def check_replay(self) -> None:
        """Send `live` if this was the last reader to reach its cut."""
        if self.replay is not None and self.position.offset >= self.owed:
            self._leave_replay()

    def abandon_replay(self) -> None:
        """This reading ends before its cut: the others' `live` does not wait for it."""
        if self.replay is not None:
            self.replay.cuts.pop(self.conversation_id, None)
            self._leave_replay()

    def hear_whisper(self, whispered: Pushes) -> None:
        """Pass on what is not in the log, while there is room: it is promised to nobody."""
        outbox = self._outbox
        if outbox.has_room:
            outbox.put_if_it_fits(whispered)

    def fall_behind(self, position: Position) -> None:
        """Take what is missing after `position` from memory or the log."""
        self._position, self.is_live = position, False
        self.topic.live.discard(self)
        self.topic.ahead.discard(self)
        self._owner.fell_behind(self)

    def mistrust(self) -> None:
        """Give the client a snapshot: it may have seen what is in no log any more."""
        self.fall_behind(_NOWHERE)

    def fail(self, code: CloseCode) -> None:
        """End the connection: it could not take what was given to it, or what it reads is gone."""
        self._owner.failed(code)

    def expel(self, left: Publication) -> None:
        """Stop reading; a reader beyond that event has joined again since.

        One of another epoch reads the log, which knows whether it takes part: the event may be of
        a master that was replaced.
        """
        at = self.position
        if at.epoch == left.epoch and at.offset <= left.offset:
            self._owner.expelled(self.conversation_id)

    def _leave_replay(self) -> None:
        replay, self.replay = self.replay, None
        if replay is None:
            return
        replay.waiting.discard(self.conversation_id)
        if not replay.waiting:
            self._owner.reached_cut(replay.cuts)
