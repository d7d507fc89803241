"""The state a client has: built from its events, replaced by snapshots, checked at every frame."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jsonpatch

from tests.failover.stream import name_of

if TYPE_CHECKING:
    from tests.failover.stream import Name, Stream

Message = dict[str, Any]
EMPTY_CONTEXT: Message = {"version": 0, "memory": {}, "workflow": {}, "tool_calls": []}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: with whom, of which kind, and what."""

    client: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.client}: {self.kind}: {self.text}"


@dataclass(frozen=True)
class Replaced:
    """What a snapshot replaced: where the client stood, and the events it had since the last."""

    position: Name | None
    held: dict[Name, Message]


class Told:
    """A fold of a stream.

    Attributes:
        position: of the last event, or what it was renamed to.
        messages: by id, in the order they came.
        since_seq: messages before this one were never told: the snapshot had only a page.
        texts: what was streamed of replies, by message id.
        context: the fold of `CONTEXT_UPDATED`.
        held: single events since the last snapshot, by name.
        replaced: one for each snapshot.
        epoch_changes: how many.
    """

    def __init__(self, stream: Stream) -> None:
        self.client = stream.client
        self.position: Name | None = None
        self.messages: dict[str, Message] = {}
        self.since_seq = 1
        self.texts: dict[str, str] = {}
        self.context = copy.deepcopy(EMPTY_CONTEXT)
        self.held: dict[Name, Message] = {}
        self.replaced: list[Replaced] = []
        self.epoch_changes = 0
        self.faults: list[Fault] = []
        self._is_snapshot_due = False
        for frame in stream.frames:
            getattr(self, f"_take_{frame['type']}")(frame)

    def _fault(self, kind: str, text: str) -> None:
        self.faults.append(Fault(self.client, kind, text))

    def _take_position(self, frame: Message) -> None:
        self._is_snapshot_due = frame["mode"] == "snapshot"
        if frame["mode"] == "fresh":
            if self.position is not None:
                self._fault("gap", f"begun anew at {name_of(frame)} after {self.position}")
            self.position = name_of(frame)

    def _take_epoch_changed(self, frame: Message) -> None:
        before, after = name_of(frame["from"]), name_of(frame["to"])
        self.epoch_changes += 1
        if self._is_snapshot_due:
            self._fault("rename", f"{before} renamed before the snapshot that was promised")
        if before != self.position:
            self._fault("rename", f"{before} renamed to {after} for a client at {self.position}")
        if before[1] != after[1] or before[0] == after[0]:
            self._fault("rename", f"{before} cannot be {after}")
        self.position = after

    def _take_snapshot(self, frame: Message) -> None:
        self._is_snapshot_due = False
        self.replaced.append(Replaced(self.position, self.held))
        self.position, self.held = name_of(frame), {}
        self.messages = {message["message_id"]: message for message in frame["messages"]}
        is_page = frame["has_more"] and frame["messages"]
        self.since_seq = frame["messages"][0]["seq"] if is_page else 1
        self.context = {name: copy.deepcopy(frame["context"][name]) for name in EMPTY_CONTEXT}
        run = frame.get("active_run")
        self.texts = {run["message_id"]: run["text"]} if run else {}

    def _take_event(self, frame: Message) -> None:
        self._check_place(frame)
        self.position = name_of(frame)
        event = frame["event"]
        if frame.get("from_offset", frame["offset"]) == frame["offset"]:
            self.held[self.position] = event
        take = getattr(self, f"_take_{event['type'].lower()}", None)
        if take is not None:
            take(event)

    def _check_place(self, frame: Message) -> None:
        name, first = name_of(frame), frame.get("from_offset", frame["offset"])
        if self._is_snapshot_due:
            self._fault("gap", f"{name} came before the snapshot that was promised")
        if self.position is None or (name[0], first) == (self.position[0], self.position[1] + 1):
            return
        if name[0] != self.position[0]:
            self._fault("epoch", f"{name} came after {self.position} without a word")
        elif first <= self.position[1]:
            self._fault("repeat", f"{name} came after {self.position}")
        else:
            self._fault("gap", f"{name} came after {self.position}")

    # Events, by type

    def _take_message_created(self, event: Message) -> None:
        message = event["message"]
        message_id = message["message_id"]
        if message_id in self.messages:
            self._fault("repeat", f"message {message_id} was created twice")
        self.messages[message_id] = message
        streamed = self.texts.get(message_id, "")
        if message.get("run_id") and streamed != message["content"]:
            told, kept = streamed[-60:], message["content"][-60:]
            self._fault("run_text", f"{message_id}: streamed …{told!r}, but it is …{kept!r}")

    def _take_message_updated(self, event: Message) -> None:
        self.messages[event["message"]["message_id"]] = event["message"]

    def _take_message_deleted(self, event: Message) -> None:
        self.messages.pop(event["messageId"], None)

    def _take_text_message_start(self, event: Message) -> None:
        if self.texts.get(event["messageId"]):  # a snapshot may name the reply before it begins
            self._fault("run_text", f"{event['messageId']} began twice")
        self.texts[event["messageId"]] = ""

    def _take_text_message_content(self, event: Message) -> None:
        if event["messageId"] not in self.texts:
            self._fault("run_text", f"{event['messageId']} goes on and never began")
        known = self.texts.get(event["messageId"], "")
        self.texts[event["messageId"]] = known + event["delta"]

    def _take_context_updated(self, event: Message) -> None:
        version = self.context["version"]
        if event["baseVersion"] != version:
            self._fault("context", f"{event['version']} on {event['baseVersion']} after {version}")
        try:
            self.context = jsonpatch.apply_patch(self.context, event["patch"])
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as exc:
            self._fault("context", f"version {event['version']} does not fit: {exc}")
        self.context["version"] = event["version"]
