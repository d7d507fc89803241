"""What one connection reads: its conversations, each live or catching up.

A reader at a position takes events as they are heard; one that lacks some is caught up
(catch_up.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.errors import TooLarge
from gateway.fanout.catch_up import CatchUp
from gateway.fanout.reader import Reader, Replay
from gateway.protocol.messages import Live

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from gateway.codes import CloseCode
    from gateway.fanout.hub import Hub
    from gateway.fanout.outbox import Outbox
    from gateway.fanout.topic import Topic
    from gateway.identity.caller import Caller
    from gateway.protocol.encoders import Encoder
    from gateway.protocol.messages import Mode, Position
    from gateway.store.log import Cut, Log


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
        "_catch_up",
        "_fail",
        "_hub",
        "_log",
        "_max_conversations",
        "_readers",
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
        self._fail = fail
        self._topics: dict[str, Topic] = {}
        self._readers: dict[str, Reader] = {}
        self._catch_up = CatchUp(
            log,
            outbox,
            encoder,
            caller=caller,
            check_soon=hub.check_soon,
            is_current=self._is_current,
            drop=self.drop,
            spawn=spawn,
        )

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
            self._catch_up.learn(item.topic, item.cut, item.asked_at)
            self._catch_up.deliver_at_once(reader, item.cut)
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
            self._catch_up.fell_behind(reader)

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
        self._catch_up.fell_behind(reader)

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

    def _is_current(self, reader: Reader) -> bool:
        """Whether the conversation was not left or joined anew meanwhile."""
        return self._readers.get(reader.conversation_id) is reader
