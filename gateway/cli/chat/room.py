"""What a chat shows of a conversation: turns events into lines. Without I/O."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.cli.chat.answers import how_to_answer
from gateway_client import (
    Detached,
    Event,
    Interrupt,
    Message,
    Presence,
    SessionWarning,
    Snapshot,
    Typing,
    UnreadableEvent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.cli.chat.screen import Screen
    from gateway_client import ActiveRun, AgentContext, Cursor, Item, Notice

_NOTES = {"cancelled": "(cancelled)", "failed": "(failed)"}
_AGENT = "agent:"  # begins the author of what an agent says
_OF_RUNS = ("TEXT_", "RUN_", "TOOL_", "STEP_")
REMEMBERED = 200  # messages; a snapshot has 50
_KEPT_CONTROLS = {ord("\n"), ord("\t")}
# They make one text look like another; the marks that Hebrew and Arabic use stay.
_TURNING = {*range(0x2028, 0x202F), *range(0x2066, 0x206A)}
_CONTROLS = {*range(32), *range(127, 160), *_TURNING} - _KEPT_CONTROLS
_PRINTABLE = dict.fromkeys(_CONTROLS, "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    """Return text that cannot drive the terminal: what others wrote may hold escape sequences."""
    return text.translate(_PRINTABLE)


class Room:
    """Shows one conversation.

    Args:
        conversation_id: The conversation; events of others are ignored.
        screen: Where to show it.
    """

    def __init__(self, conversation_id: str, screen: Screen) -> None:
        self.me = ""
        self.asked: list[Interrupt] = []  # what waits for an answer, the newest last
        self._id = conversation_id
        self._screen = screen
        self._last_seq = 0
        self._shown: dict[int, str] = {}  # the newest messages: seq and id
        self._growing: dict[str, str] = {}  # text so far of messages that are being written
        self._authors: dict[str, str] = {}  # of these
        self._last_deleted = ""  # a replay tells of it twice: at its creation, and at its deletion
        self._known_to: Cursor | None = None  # what runs did up to here was shown at the start
        self._show: dict[str, Callable[[dict[str, Any]], None]] = {
            "MESSAGE_CREATED": self._created,
            "MESSAGE_UPDATED": self._updated,
            "MESSAGE_DELETED": self._deleted,
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

    def begin(self, context: AgentContext) -> None:
        """Show what a run has said so far, and what waits for an answer."""
        self._known_to = context.position
        if context.active_run is not None:
            self._go_on_with(context.active_run)
        self.wait_for(context.interrupts)

    def wait_for(self, interrupts: list[Interrupt]) -> None:
        """Exactly these wait for an answer now."""
        self.asked = list(interrupts)
        for interrupt in interrupts:
            self.ask(interrupt)

    def ask(self, interrupt: Interrupt) -> None:
        """Show a question, and how it is answered."""
        question = interrupt.message or interrupt.reason
        self._note(f"the agent asks: {question}   ({how_to_answer(interrupt)})")

    def answered(self, interrupt: Interrupt) -> None:
        """It no longer waits for an answer."""
        self.asked = [one for one in self.asked if one is not interrupt]

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
                self._note("an event here cannot be read")
            case Snapshot():
                self._restored(item)
            case Detached():
                self._note(f"no longer in this conversation: {item.message or item.code}")

    def _event(self, event: Event) -> None:
        show = self._show.get(event.type)
        if show is None or self._was_shown(event):
            return
        try:
            show(event.data)
        except (LookupError, TypeError, AttributeError, msgspec.ValidationError):
            self._note(f"an event of type {event.type} cannot be shown")

    def notice(self, notice: Notice) -> None:
        """Show a push that is not in the log."""
        match notice:
            case Presence(conversation_id=self._id) if notice.subject != self.me:
                self._note(f"{notice.subject} is {'online' if notice.online else 'offline'}")
            case Typing(conversation_id=self._id) if notice.active and notice.subject != self.me:
                self._note(f"{notice.subject} is typing")
            case SessionWarning():
                self._note(notice.message or notice.code)

    def _was_shown(self, event: Event) -> bool:
        known = self._known_to
        if known is None or not event.type.startswith(_OF_RUNS):
            return False
        return event.epoch == known.epoch and event.offset <= known.offset

    def _created(self, data: dict[str, Any]) -> None:
        self._message(msgspec.convert(data["message"], Message))

    def _message(self, message: Message) -> None:
        """Show a message once. One that was seen growing only has to be ended."""
        if message.seq <= self._last_seq:
            return
        self._last_seq = message.seq
        self._shown[message.seq] = message.message_id
        if len(self._shown) > REMEMBERED:
            del self._shown[next(iter(self._shown))]
        self._authors.pop(message.message_id, None)
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
        if author == self.me and message.role == "user":
            return f"{author} (you)"
        return _agent_name(author) if message.role == "assistant" else author

    def _updated(self, data: dict[str, Any]) -> None:
        message = msgspec.convert(data["message"], Message)
        self._note(f"{self._name(message)} edited a message: {message.text}")

    def _deleted(self, data: dict[str, Any]) -> None:
        message_id = str(data["messageId"])
        if self._growing.pop(message_id, None) is not None:
            self._screen.finish(message_id, "(deleted)")
        elif message_id != self._last_deleted:
            self._note("a message was deleted")
        self._last_deleted = message_id

    def _started(self, data: dict[str, Any]) -> None:
        self._growing.setdefault(str(data["messageId"]), "")
        self._authors[str(data["messageId"])] = _agent_name(str(data.get("name") or "agent"))

    def _content(self, data: dict[str, Any]) -> None:
        message_id, delta = str(data["messageId"]), str(data["delta"])
        self._growing[message_id] = self._growing.get(message_id, "") + delta
        self._grow(message_id, delta)

    def _grow(self, message_id: str, delta: str) -> None:
        if delta:
            author = self._authors.get(message_id, "agent")
            self._screen.stream(message_id, printable(author), printable(delta))

    def _run_finished(self, data: dict[str, Any]) -> None:
        outcome = data.get("outcome")
        if not isinstance(outcome, dict) or outcome.get("type") != "interrupt":
            return
        for asked in outcome.get("interrupts", []):
            interrupt = msgspec.convert(asked | {"runId": data["runId"]}, Interrupt)
            self.asked.append(interrupt)
            self.ask(interrupt)

    def _restored(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot: what is shown already stays, what is missing comes after it."""
        self._note("the conversation was restored")
        self._forget_lost(snapshot.messages)
        self.history(snapshot.messages)
        run = snapshot.active_run
        growing = run.message_id if run else None
        for message_id in [key for key in self._growing if key != growing]:
            del self._growing[message_id]
            self._screen.finish(message_id, "(cut off)")
        if run is not None:
            self._go_on_with(run)
        if snapshot.context is not None:
            self.wait_for(snapshot.context.interrupts)

    def _forget_lost(self, messages: list[Message]) -> None:
        """Say which messages a failover lost; others may have their numbers now."""
        kept = {message.seq: message.message_id for message in messages}
        newest = max(kept, default=0)
        lost = [
            seq
            for seq, message_id in self._shown.items()
            if seq > newest or kept.get(seq, message_id) != message_id
        ]
        if lost:
            self._last_seq = min(lost) - 1
            self._shown = {seq: one for seq, one in self._shown.items() if seq < min(lost)}
            what = "message above is" if len(lost) == 1 else "messages above are"
            self._note(f"the last {len(lost)} {what} lost: no longer on the server")

    def _go_on_with(self, run: ActiveRun) -> None:
        """Show of a reply what is not shown yet; what follows is appended."""
        if run.message_id is None:
            return
        self._authors[run.message_id] = _agent_name(run.agent or "agent")
        shown = self._growing.get(run.message_id, "")
        self._growing[run.message_id] = run.text
        missing = run.text[len(shown) :] if run.text.startswith(shown) else f"\n{run.text}"
        self._grow(run.message_id, missing)

    def _note(self, text: str) -> None:
        self._screen.line(printable(f"* {text}"))


def _agent_name(author: str) -> str:
    name = author.removeprefix(_AGENT)
    return "agent" if name == "agent" else f"{name} (agent)"
