"""One connection's reading of one conversation: live, or behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.json_text import JsonText
from gateway.messages import Position
from gateway.recovery import Verdict, judge

if TYPE_CHECKING:
    from gateway.attachments import Attachments
    from gateway.hub import Topic
    from gateway.published import Published


@dataclass(slots=True)
class Replay:
    """A replay that was announced: `live` follows when all its readers have reached their cut."""

    cuts: dict[str, int]
    waiting: set[str]


class ConversationReader:
    """The hub's `Reader` for one connection.

    `position` is the last event put into the connection's outbox. While `is_live` the hub's events
    are taken as they come; otherwise they are ignored, and caught up from memory or the log.
    """

    __slots__ = (
        "_attachments",
        "caller",
        "connection_id",
        "conversation_id",
        "is_live",
        "position",
        "replay",
        "topic",
    )

    def __init__(
        self, attachments: Attachments, topic: Topic, position: Position, replay: Replay | None
    ) -> None:
        self.caller = attachments.caller
        self.connection_id = attachments.connection_id
        self.conversation_id = topic.conversation_id
        self.topic = topic
        self.position = position
        self.is_live = False
        self.replay = replay
        self._attachments = attachments

    def hear(self, event: Published) -> None:
        """Take an event if it is the next one; fall behind if one is missing, or this one is large.

        A large one waits for its room, as a replay does.
        """
        if not self.is_live:
            return
        verdict = judge(self.position, event.epoch, event.offset)
        if verdict is Verdict.NEXT and event.size <= self._attachments.outbox.max_bytes // 2:
            self.deliver(event)
        elif verdict is not Verdict.DUPLICATE:
            self.fall_behind()

    def deliver(self, event: Published) -> None:
        """Send an event and stand behind it."""
        outbox = self._attachments.outbox
        if self.is_live:
            outbox.put_live(event)
        else:
            outbox.put(event)
        self.position = Position(event.epoch, event.offset)
        if self.replay is not None:
            self.check_replay()

    @property
    def owed(self) -> int:
        """The offset up to which the client was promised events."""
        return 0 if self.replay is None else self.replay.cuts[self.conversation_id]

    def owe_at_most(self, offset: int) -> None:
        """The log ends at `offset`: no more than that can be awaited."""
        if self.replay is not None:
            self.replay.cuts[self.conversation_id] = min(self.owed, offset)

    def stand_at(self, position: Position) -> None:
        """Stand where a snapshot put the client."""
        self.position = position
        if self.replay is not None:
            self.replay.cuts[self.conversation_id] = position.offset

    def check_replay(self) -> None:
        """Send `live` if this was the last reader to reach its cut."""
        if self.replay is not None and self.position.offset >= self.owed:
            self._leave_replay()

    def abandon_replay(self) -> None:
        """This reading ends before its cut: the others' `live` does not wait for it."""
        if self.replay is not None:
            self.replay.cuts.pop(self.conversation_id, None)
            self._leave_replay()

    def hear_whisper(self, push: bytes) -> None:
        """Pass on a push that is not in the log."""
        if self.is_live:
            attachments = self._attachments
            attachments.outbox.put(attachments.encoder.passed_on(JsonText(push)))

    def fall_behind(self) -> None:
        """Take what is missing from memory or the log."""
        self.is_live = False
        self._attachments.catch_up(self)

    def expel(self, left: Published) -> None:
        """Stop reading; a reader beyond that event has joined again since."""
        at = self.position
        if at.epoch != left.epoch or at.offset <= left.offset:
            self._attachments.drop(self.conversation_id)

    def _leave_replay(self) -> None:
        replay, self.replay = self.replay, None
        if replay is None:
            return
        replay.waiting.discard(self.conversation_id)
        if not replay.waiting:
            self._attachments.send_live(replay.cuts)
