"""What a chat shows of a conversation: from events to lines. No I/O of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway_client import (
    Detached,
    Event,
    Message,
    Presence,
    SessionWarning,
    Snapshot,
    Typing,
    UnreadableEvent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.cli.chat_screen import Screen
    from gateway_client import Item, Notice

_NOTES = {"cancelled": "(cancelled)", "failed": "(failed)"}
_KEPT_CONTROLS = {ord("\n"), ord("\t")}
# They make one text look like another; the marks that Hebrew and Arabic use stay.
_TURNING = {*range(0x2028, 0x202F), *range(0x2066, 0x206A)}
_CONTROLS = {*range(32), *range(127, 160), *_TURNING} - _KEPT_CONTROLS
_PRINTABLE = dict.fromkeys(_CONTROLS, "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    """Return text that cannot drive the terminal: what others wrote may hold escape sequences."""
    return text.translate(_PRINTABLE)


class Asked(NamedTuple):
    """What a run asked, to answer it by."""

    run_id: str
    interrupt_id: str


class Room:
    """Shows one conversation.

    Args:
        conversation_id: Which; the rest is ignored.
        screen: Where to.
    """

    def __init__(self, conversation_id: str, screen: Screen) -> None:
        self.me = ""
        self.asked: list[Asked] = []  # not answered from here, the newest last
        self._id = conversation_id
        self._screen = screen
        self._last_seq = 0
        self._growing: dict[str, str] = {}  # text so far of messages that are being written
        self._show: dict[str, Callable[[dict[str, Any]], None]] = {
            "MESSAGE_CREATED": self._created,
            "MESSAGE_UPDATED": self._updated,
            "MESSAGE_DELETED": lambda _: self._note("a message was deleted"),
            "PARTICIPANT_JOINED": lambda data: self._note(f"{data.get('subject')} joined"),
            "PARTICIPANT_LEFT": lambda data: self._note(f"{data.get('subject')} left"),
            "TEXT_MESSAGE_CONTENT": self._content,
            "TEXT_MESSAGE_START": self._started,
            "TOOL_CALL_START": lambda data: self._note(f"calls {data.get('toolCallName')}"),
            "TOOL_CALL_RESULT": lambda data: self._note(f"got {data.get('content')}"),
            "STEP_STARTED": lambda data: self._note(f"step {data.get('stepName')}"),
            "RUN_FINISHED": self._run_finished,
            "RUN_ERROR": lambda data: self._note(f"the agent failed: {data.get('message')}"),
        }

    def history(self, messages: Iterable[Message]) -> None:
        """Show a page of messages that were there before, those that are not shown yet."""
        for message in messages:
            self._message(message)

    def recall(self, messages: Iterable[Message]) -> None:
        """Show messages, whether they were shown before or not."""
        for message in messages:
            when = time.strftime("%H:%M", time.localtime(message.created_at))
            note = _NOTES.get(message.status or "", "")
            text = f"{when} {self._name(message)}: {message.text} {note}"
            self._screen.line(printable(text.rstrip()))

    def item(self, item: Item) -> None:
        """Show an event of the log, or what replaces it."""
        if item.conversation_id != self._id:
            return
        match item:
            case Event():
                self._event(item)
            case UnreadableEvent():
                self._note("something here cannot be read")
            case Snapshot():
                self._restored(item)
            case Detached():
                self._note(f"no longer in this conversation: {item.message or item.code}")

    def _event(self, event: Event) -> None:
        show = self._show.get(event.type)
        if show is None:
            return
        try:
            show(event.data)
        except (LookupError, TypeError, AttributeError, msgspec.ValidationError):
            self._note(f"an event {event.type} that cannot be shown")

    def notice(self, notice: Notice) -> None:
        """Show a push that is not in the log."""
        match notice:
            case Presence(conversation_id=self._id) if notice.subject != self.me:
                self._note(f"{notice.subject} is {'online' if notice.online else 'offline'}")
            case Typing(conversation_id=self._id) if notice.active and notice.subject != self.me:
                self._note(f"{notice.subject} is typing")
            case SessionWarning():
                self._note(notice.message or notice.code)

    def _created(self, data: dict[str, Any]) -> None:
        self._message(msgspec.convert(data["message"], Message))

    def _message(self, message: Message) -> None:
        """Show a message once. One that was seen growing only has to be ended."""
        if message.seq <= self._last_seq:
            return
        self._last_seq = message.seq
        note = _NOTES.get(message.status or "", "")
        shown = self._growing.pop(message.message_id, None)
        if shown is not None and message.text.startswith(shown):
            self._grow(message.message_id, message.text[len(shown) :])
            self._screen.finish(message.message_id, note)
            return
        if shown is not None:
            self._screen.finish(message.message_id, "(corrected below)")
        self.recall([message])

    def _name(self, message: Message) -> str:
        author = message.author or message.role
        return f"{author} (you)" if author == self.me and message.role == "user" else author

    def _updated(self, data: dict[str, Any]) -> None:
        message = msgspec.convert(data["message"], Message)
        self._note(f"{self._name(message)} edited a message: {message.text}")

    def _started(self, data: dict[str, Any]) -> None:
        self._growing.setdefault(str(data["messageId"]), "")

    def _content(self, data: dict[str, Any]) -> None:
        message_id, delta = str(data["messageId"]), str(data["delta"])
        self._growing[message_id] = self._growing.get(message_id, "") + delta
        self._grow(message_id, delta)

    def _grow(self, message_id: str, delta: str) -> None:
        if delta:
            self._screen.stream(message_id, "agent", printable(delta))

    def _run_finished(self, data: dict[str, Any]) -> None:
        outcome = data.get("outcome")
        if not isinstance(outcome, dict) or outcome.get("type") != "interrupt":
            return
        for interrupt in outcome.get("interrupts", []):
            self.asked.append(Asked(str(data["runId"]), str(interrupt["id"])))
            question = interrupt.get("message") or interrupt.get("reason")
            self._note(f"the agent asks: {question}   (/answer TEXT)")

    def _restored(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot: what is shown already stays, what is missing comes after it."""
        self._note("the conversation was restored")
        self.history(snapshot.messages)
        run = snapshot.active_run
        growing = run.message_id if run else None
        for message_id in [key for key in self._growing if key != growing]:
            del self._growing[message_id]
            self._screen.finish(message_id, "(cut off)")
        if run is not None and growing is not None:
            shown = self._growing.get(growing, "")
            self._growing[growing] = run.text
            missing = run.text[len(shown) :] if run.text.startswith(shown) else f"\n{run.text}"
            self._grow(growing, missing)

    def _note(self, text: str) -> None:
        self._screen.line(printable(f"* {text}"))
