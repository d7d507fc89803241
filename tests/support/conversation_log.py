"""What one client knows of one conversation's log, and whether it was told without a gap."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]


@dataclass
class ConversationLog:
    """Events in order, checked as they come.

    Attributes:
        epoch: of the last event; None before anything is known.
        offset: of the last event; None before anything is known.
        events: frames of type `event`, oldest first, over all sockets of a client.
        snapshots: frames of type `snapshot`; each makes the events before it void.
        renames: frames of type `epoch_changed`, each at the client's own position.
        is_live: the last replay has ended.
    """

    conversation: str
    epoch: str | None = None
    offset: int | None = None
    events: list[Message] = field(default_factory=list)
    snapshots: list[Message] = field(default_factory=list)
    renames: list[Message] = field(default_factory=list)
    is_live: bool = False
    _owed: int = 0
    _owed_epoch: str | None = None
    _snapshot_due: bool = False
    _faults: list[str] = field(default_factory=list)

    @property
    def cursor(self) -> Message:
        """Where the client stands, as `connect` and `join_conversation` take it."""
        return {"epoch": self.epoch, "offset": self.offset}

    @property
    def messages(self) -> list[Message]:
        """The messages the events and the last snapshot tell of, oldest first."""
        base = list(self.snapshots[-1]["messages"]) if self.snapshots else []
        told = [event["event"]["message"] for event in self.of_type("MESSAGE_CREATED")]
        known = {message["message_id"] for message in base}
        return base + [message for message in told if message["message_id"] not in known]

    def of_type(self, kind: str) -> list[Message]:
        """Return the event frames of one type."""
        return [event for event in self.events if event["event"]["type"] == kind]

    def replaying(self, position: Message) -> None:
        """Take what `session_ready` or `joined` tells of this conversation."""
        self.is_live = False
        mode, offset, epoch = position["mode"], position["offset"], position["epoch"]
        if mode == "fresh" and self.offset is None:
            self.epoch, self.offset = epoch, offset
        elif mode == "tail" and self.offset is None:
            self.epoch, self.offset = epoch, offset - position["replayed"]
        self._snapshot_due = mode == "snapshot"
        self._owed = offset
        # A tail may end in a later epoch than the client's own: `epoch_changed` must come first.
        self._owed_epoch = epoch if mode == "tail" and epoch != self.epoch else None

    def went_live(self, offset: int) -> None:
        """Take the `live` push: the replay that was promised must have come."""
        if self._snapshot_due:
            self._fault("live before the snapshot")
        if self._owed_epoch is not None:
            self._fault(f"live without the epoch {self._owed_epoch} that was promised")
        if self.offset is not None and self.offset < max(offset, self._owed):
            self._fault(f"live at {offset} (promised {self._owed}) but heard only {self.offset}")
        self.is_live = True

    def add(self, event: Message) -> None:
        """Take an event; it must follow the one before."""
        first = event.get("from_offset", event["offset"])
        if self._snapshot_due:
            self._fault(f"event {event['offset']} before the snapshot")
        if self.offset is not None and (event["epoch"], first) != (self.epoch, self.offset + 1):
            self._fault(f"{event['epoch']}:{first} came after {self.epoch}:{self.offset}")
        self.epoch, self.offset = event["epoch"], event["offset"]
        self.events.append(event)

    def rename(self, change: Message) -> None:
        """Take `epoch_changed`: what the client has is whole, and its place has another name."""
        before, after = change["from"], change["to"]
        if self._snapshot_due:
            self._fault(f"{before} renamed before the snapshot")
        if before != self.cursor or after["offset"] != before["offset"]:
            self._fault(f"{before} renamed to {after} at {self.cursor}")
        if self._owed_epoch == after["epoch"]:
            self._owed_epoch = None
        self.epoch, self.offset = after["epoch"], after["offset"]
        self.renames.append(change)

    def replace(self, snapshot: Message) -> None:
        """Take a snapshot; it stands for everything up to its offset."""
        self._snapshot_due, self._owed_epoch = False, None
        self.epoch, self.offset = snapshot["epoch"], snapshot["offset"]
        self.events.clear()
        self.snapshots.append(snapshot)

    def take_faults(self) -> list[str]:
        """Return the faults found since the last call."""
        found, self._faults = self._faults, []
        return found

    def _fault(self, text: str) -> None:
        self._faults.append(f"{self.conversation}: {text}")
