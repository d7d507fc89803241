"""From frames to the inbox: every event once and in order, and no gap passed over in silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway_client.errors import GatewayClientError, LinkError, RequestFailed
from gateway_client.protocol.messages import Cursor, Detached, Event, Snapshot, UnreadableEvent
from gateway_client.protocol.replies import Joined
from gateway_client.protocol.requests import JoinConversation
from gateway_client.session.reconnect import told_s
from gateway_client.session.timeline import Timeline, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_client.protocol.messages import EpochChanged, Item, Live
    from gateway_client.protocol.replies import ConversationState
    from gateway_client.session.inbox import Inbox

Ask = Callable[[JoinConversation, Callable[[Joined | GatewayClientError], None]], None]

# No log has this epoch, so the server answers with a snapshot: the way out when it does not have
# what a cursor asks for.
NO_EPOCH = Cursor("?", 0)
Logged = Event | UnreadableEvent | Snapshot  # what has a place in the log
MAX_GAP_RETRIES = 3
RETRY_S = 1.0
_REFUSED_FOR_GOOD = frozenset({"bad_request", "forbidden", "not_found", "too_large"})
# The server takes this many cursors in one `connect`; the others are joined one by one.
MAX_CURSORS = 1000


class Reader:
    """The conversations of a session and where each stands.

    Args:
        inbox: Where items for the application go.
        ask: Sends a `join_conversation` of the session's own and reports its outcome.
    """

    def __init__(self, inbox: Inbox, *, ask: Ask) -> None:
        self.inbox = inbox
        self.fault: LinkError | None = None
        self._ask = ask
        self._timelines: dict[str, Timeline] = {}
        self._are_some_behind = False
        self._in_hand: Item | None = None
        self._now = 0.0

    def timeline(self, conversation_id: str) -> Timeline:
        """Return the conversation's timeline; a new one if the session was not attached to it."""
        return self._timelines.setdefault(conversation_id, Timeline(conversation_id))

    def cursor(self, conversation_id: str) -> Cursor | None:
        """Where the conversation stands; None if it is not followed."""
        timeline = self._timelines.get(conversation_id)
        return timeline.cursor if timeline else None

    def cursors(self) -> dict[str, Cursor]:
        """Where to go on from after a drop."""
        known = {key: one.cursor for key, one in self._timelines.items()}
        named = [(key, cursor) for key, cursor in known.items() if cursor is not None]
        return dict(named[:MAX_CURSORS])

    def saved_cursors(self) -> dict[str, Cursor]:
        """Where to go on from after a restart of the program."""
        known = {key: one.saved_cursor for key, one in self._timelines.items()}
        return {key: cursor for key, cursor in known.items() if cursor is not None}

    def restore(self, cursors: Mapping[str, Cursor]) -> None:
        """The application has everything up to these cursors, from an earlier run."""
        for conversation_id, cursor in cursors.items():
            timeline = self.timeline(conversation_id)
            timeline.received = timeline.handed = cursor

    # --- from the server --------------------------------------------------------------------------

    def event(
        self, event: Event | UnreadableEvent, *, size_bytes: int, sheds: bool, now: float
    ) -> None:
        """Take the event if it is the next one; ask the log if some are missing before it.

        Args:
            event: What came.
            size_bytes: Its share of the frame.
            sheds: There is no room: leave it out, and ask for it when there is.
            now: Seconds.
        """
        self._now = now
        timeline = self.timeline(event.conversation_id)
        verdict = timeline.judge(event)
        if verdict is Verdict.SEEN:
            return
        if sheds:
            timeline.is_behind = self._are_some_behind = True
        elif verdict is Verdict.GAP:
            self._gap(timeline)
        else:
            timeline.take(event, now)
            self.inbox.put(event, size_bytes=size_bytes)

    def snapshot(self, snapshot: Snapshot, *, size_bytes: int, sheds: bool, now: float) -> None:
        """Take the snapshot, unless it is older than what was received."""
        self._now = now
        timeline = self.timeline(snapshot.conversation_id)
        if not timeline.is_news(snapshot):
            return
        if sheds:
            timeline.is_behind = self._are_some_behind = True
            return
        timeline.take(snapshot, now)
        self.inbox.put(snapshot, size_bytes=size_bytes)

    def live(self, live: Live, now: float) -> None:
        """The replay is said to be over at these offsets: they have to come, or be there."""
        for conversation_id, offset in live.conversations.items():
            cursor = self.cursor(conversation_id)
            if cursor is not None:
                self.timeline(conversation_id).promise(Cursor(cursor.epoch, offset), now)

    def epoch_changed(self, change: EpochChanged) -> None:
        """Where a conversation's reader stands has another name, if it stands there."""
        timeline = self._timelines.get(change.conversation_id)
        if timeline is not None:
            timeline.rename(change.old, change.new)

    def attached(self, conversation_id: str, standing: ConversationState, now: float) -> None:
        """The session is attached to the conversation and the server says what follows."""
        timeline = self.timeline(conversation_id)
        timeline.is_catching_up = False
        if standing.mode == "fresh":
            timeline.starts_at(standing.cursor)
        else:
            timeline.promise(standing.cursor, now)

    def detached(self, conversation_id: str) -> None:
        """The session follows the conversation no longer."""
        self._timelines.pop(conversation_id, None)

    def resumed(self, conversations: Mapping[str, ConversationState], now: float) -> None:
        """A new link: attach what the server does not know to be followed."""
        self._now = now
        for conversation_id, standing in conversations.items():
            self.attached(conversation_id, standing, now)
        for conversation_id in [key for key in self._timelines if key not in conversations]:
            self._catch_up(self._timelines[conversation_id])

    def link_lost(self) -> None:
        """The next link resumes from the cursors."""
        self.fault = None
        for timeline in self._timelines.values():
            timeline.link_lost()

    # --- to the application -----------------------------------------------------------------------

    def hand_over(self) -> Item | None:
        """Return the next item; what was returned before counts as dealt with."""
        self._finish()
        item = self.inbox.take()
        self._in_hand = item
        if isinstance(item, Logged) and item.conversation_id in self._timelines:
            timeline = self._timelines[item.conversation_id]
            timeline.handed = timeline.name_of(item.cursor)
        if self._are_some_behind and self.inbox.is_half_empty:
            self._ask_for_what_was_left_out()
        return item

    def _finish(self) -> None:
        item, self._in_hand = self._in_hand, None
        if isinstance(item, Logged) and item.conversation_id in self._timelines:
            timeline = self._timelines[item.conversation_id]
            timeline.finished = timeline.name_of(item.cursor)

    def take_acks(self) -> dict[str, Cursor]:
        """Return what the application has dealt with since the last acknowledgement."""
        moved = {}
        for conversation_id, timeline in self._timelines.items():
            if timeline.finished is not None and timeline.finished != timeline.acked:
                timeline.acked = moved[conversation_id] = timeline.finished
            if len(moved) == MAX_CURSORS:
                break
        return moved

    # --- what is missing --------------------------------------------------------------------------

    def tick(self, now: float, *, is_reading: bool) -> None:
        """Ask for what was left out, and for what the server named and did not send."""
        self._now = now
        for timeline in list(self._timelines.values()):
            if not is_reading:
                timeline.excuse(now)
            elif timeline.is_overdue(now) and not timeline.is_behind:
                self._catch_up(timeline)
        if is_reading and self.inbox.is_half_empty:
            self._ask_for_what_was_left_out()

    def _ask_for_what_was_left_out(self) -> None:
        behind = [one for one in self._timelines.values() if one.is_behind]
        for timeline in behind:
            if self._now >= timeline.ask_at:
                self._catch_up(timeline)
        self._are_some_behind = any(one.is_behind for one in behind)

    def _gap(self, timeline: Timeline) -> None:
        if timeline.is_catching_up:
            return
        timeline.gap_retries += 1
        if timeline.gap_retries > MAX_GAP_RETRIES:
            self.fault = LinkError(f"events of {timeline.conversation_id} are missing")
        else:
            self._catch_up(timeline)

    def _catch_up(self, timeline: Timeline) -> None:
        if timeline.is_catching_up:
            return
        timeline.is_catching_up = True
        timeline.is_behind = False
        timeline.forgive()
        cursor = timeline.cursor if timeline.gap_retries < MAX_GAP_RETRIES - 1 else NO_EPOCH
        request = JoinConversation(conversation_id=timeline.conversation_id, cursor=cursor)
        self._ask(request, lambda outcome: self._caught_up(timeline, outcome))

    def _caught_up(self, timeline: Timeline, outcome: Joined | GatewayClientError) -> None:
        """The server answered our own join; a refusal for good ends the conversation here."""
        timeline.is_catching_up = False
        if isinstance(outcome, Joined):
            return
        if isinstance(outcome, RequestFailed) and outcome.code in _REFUSED_FOR_GOOD:
            self.detached(timeline.conversation_id)
            gone = Detached(
                conversation_id=timeline.conversation_id,
                code=outcome.code,
                message=outcome.message,
            )
            self.inbox.put(gone, size_bytes=0)
            return
        timeline.is_behind = self._are_some_behind = True
        retry_after_ms = getattr(outcome, "retry_after_ms", None)
        timeline.ask_at = self._now + (told_s(retry_after_ms) or RETRY_S)
