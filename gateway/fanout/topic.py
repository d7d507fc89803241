"""One conversation that a replica listens to: who reads it here, and its newest events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from gateway.codes import CloseCode
from gateway.fanout.tail import Tail, Verdict, judge
from gateway.protocol.batches import Batch, batches
from gateway.protocol.blanked import change_of
from gateway.protocol.messages import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.protocol.batches import Pushes
    from gateway.protocol.publications import Publication

TAIL_BYTES = 65_536  # of events a topic keeps in memory for those who come back
BATCH_BYTES = 65_536  # of events that go out in one piece
_log = structlog.get_logger(__name__)


class TopicReader(Protocol):
    """One connection's reading of one conversation."""

    @property
    def subject(self) -> str:
        """Who reads."""

    @property
    def connection_id(self) -> str:
        """Whose connection it is."""

    @property
    def position(self) -> Position:
        """The last event it has."""

    def take(self, batch: Batch) -> None:
        """Send the next events; only called while live."""

    def take_rest(self, batch: Batch) -> None:
        """Send what is new of these events; only called while ahead."""

    def hear_whisper(self, whispered: Pushes) -> None:
        """Pass on something that is not in the log."""

    def fall_behind(self, position: Position) -> None:
        """Be live no more and read on from `position`: something was missed."""

    def expel(self, left: Publication) -> None:
        """The subject takes no part any more, unless it came back before it reads on."""

    def mistrust(self) -> None:
        """Be given a snapshot: what it has may be in no log any more."""

    def fail(self, code: CloseCode) -> None:
        """End the connection; the client comes back."""


class Topic:
    """One conversation that is listened to here.

    Readers that are `live` stand where the topic stands: what comes next is next for all of them.
    Those that read the log may be `ahead` of what was heard, and live once that has caught up.
    """

    __slots__ = (
        "ahead",
        "conversation_id",
        "fresh",
        "holds",
        "is_heard",
        "live",
        "readers",
        "tail",
        "tenant",
    )

    def __init__(self, tenant: str, conversation_id: str) -> None:
        self.tenant = tenant
        self.conversation_id = conversation_id
        self.tail: Tail | None = None  # None until its position is known
        self.readers: set[TopicReader] = set()
        self.live: set[TopicReader] = set()  # of the readers
        self.ahead: set[TopicReader] = set()  # of the others
        self.holds = 0  # connections that use it, readers or about to be
        self.is_heard = False  # since its subscription was confirmed
        self.fresh: list[Publication] = []  # heard in this tick, delivered at its end

    @property
    def epoch(self) -> str | None:
        """The epoch of what was heard; None if nothing is known yet."""
        return None if self.tail is None else self.tail.position.epoch

    def hear(self, events: Sequence[Publication]) -> None:
        """Give events to every live reader; where some are missing, readers fall behind."""
        tail = self.tail
        if tail is None:
            tail = self.tail = Tail(before(events[0]), max_bytes=TAIL_BYTES)
        epoch, offset = tail.position.epoch, tail.position.offset
        if len(events) == 1 and events[0].offset == offset + 1 and events[0].epoch == epoch:
            self._deliver_one(tail, Batch(events, size=events[0].size))  # by far the commonest
            return
        run: list[Publication] = []
        for event in events:
            if event.epoch == epoch and event.offset <= offset:
                if tail.contradicts(event):
                    self._fork(tail, event)
                    return
                continue
            if event.epoch != epoch or event.offset != offset + 1:
                self._deliver(tail, run)
                run = []
                self._restart(tail, before(event))
            run.append(event)
            epoch, offset = event.epoch, event.offset
        self._deliver(tail, run)

    def stand_at(self, position: Position) -> None:
        """Learn where the log stands; readers who lack something read it."""
        if self.tail is None:
            self.tail = Tail(position, max_bytes=TAIL_BYTES)
        elif judge(self.tail.position, position.epoch, position.offset) is not Verdict.DUPLICATE:
            self._restart(self.tail, position)

    @property
    def furthest(self) -> Position | None:
        """The last event that anybody has here: what was heard, or read by who is ahead."""
        if self.tail is None:
            return None
        heard = self.tail.position
        read = [one.position for one in self.ahead if one.position.epoch == heard.epoch]
        return max([heard, *read], key=lambda position: position.offset)

    def compare(self, found: Position, *, asked_at: Position | None) -> None:
        """Learn where Redis says that the log stands.

        Less than was known before the question means that a failover lost events: readers who have
        them get snapshots.

        Args:
            found: what it says.
            asked_at: `furthest`, when it was asked.
        """
        if asked_at is not None and self.epoch != asked_at.epoch:
            return  # it has gone on under another name meanwhile
        if not self.notice_loss(found, asked_at=asked_at):
            self.stand_at(found)

    def notice_loss(self, found: Position, *, asked_at: Position | None) -> bool:
        """See whether the log holds less than was known before it was asked, as in `compare`."""
        if self.tail is None or asked_at is None or not self.epoch == found.epoch == asked_at.epoch:
            return False
        if found.offset >= asked_at.offset:
            return False
        lost = asked_at.offset - found.offset
        _log.warning("log_truncated", conversation_id=self.conversation_id, events=lost)
        self._mistrust(self.tail, found)
        return True

    def _fork(self, tail: Tail, event: Publication) -> None:
        """An event came under the name of another one, which must not be: ask the log for all."""
        _log.error(
            "log_diverged",
            conversation_id=self.conversation_id,
            epoch=event.epoch,
            offset=event.offset,
        )
        self._mistrust(tail, tail.position)

    def _mistrust(self, tail: Tail, position: Position) -> None:
        """Restart where the log stands; who is live or ahead may have what it does not hold."""
        readers = (*self.live, *self.ahead)
        tail.restart(position)
        for reader in readers:
            reader.mistrust()

    def _restart(self, tail: Tail, position: Position) -> None:
        stood_at = tail.position
        tail.restart(position)
        for reader in tuple(self.live):
            reader.fall_behind(stood_at)
        for reader in tuple(self.ahead):
            reader.fall_behind(reader.position)

    def fail(self, code: CloseCode) -> None:
        """End every reader's connection: what they were given is not known, or is gone."""
        for reader in tuple(self.readers):
            reader.fail(code)

    def _deliver(self, tail: Tail, run: list[Publication]) -> None:
        for batch in batches(run, max_bytes=BATCH_BYTES):
            self._deliver_one(tail, batch)

    def _deliver_one(self, tail: Tail, batch: Batch) -> None:
        tail.extend(batch)
        last = batch.events[-1]
        if last.ends_batch:
            change = change_of(last)
            if change is not None:
                tail.blank(change)
            if last.is_restricted:
                self._let_read(batch)
                return
        ahead = tuple(self.ahead)
        for reader in tuple(self.live):
            try:
                reader.take(batch)
            except Exception:  # noqa: BLE001  # the edge: it costs this reader only
                _log.exception("delivery_failed", conversation_id=self.conversation_id)
                reader.fail(CloseCode.SERVER_FAULT)
        for reader in ahead:
            reader.take_rest(batch)
        if last.ends_batch and last.leaver is not None:
            for reader in [one for one in self.readers if one.subject == last.leaver]:
                reader.expel(last)

    def _let_read(self, batch: Batch) -> None:
        """Let each reader read what not all may see from the log."""
        stood_at = before(batch.events[0])
        for reader in tuple(self.live):
            reader.fall_behind(stood_at)
        for reader in tuple(self.ahead):
            reader.fall_behind(reader.position)


def before(event: Publication) -> Position:
    """The position of a reader for whom an event is the next one."""
    return Position(event.epoch, event.offset - 1)
