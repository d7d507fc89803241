"""The protocol's promises about logs and sends, as a model that loses, repeats and merges frames.

For property tests of the session without I/O; behaviour on real sockets is tested at a real
gateway.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from random import Random

SNAPSHOT_HOLDS = "the text so far"


@dataclass
class Log:
    """One conversation: entry `n` is `entries[n - 1]`; those up to `trimmed` are in no replay."""

    epoch: str = "e0"
    entries: list[str] = field(default_factory=list)
    trimmed: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    joints: set[tuple[str, int, str]] = field(default_factory=set)

    def begin_epoch(self, epoch: str) -> None:
        """Go on at the next offset in another epoch."""
        self.ended[self.epoch] = end = len(self.entries)
        self.epoch = epoch
        self.joints |= {(old, end, epoch) for old, at in self.ended.items() if at == end}

    def cut(self, kept: int) -> None:
        """Lose the end: of the epochs that ended later, those that had begun end here."""
        del self.entries[kept:]
        self.trimmed = min(self.trimmed, kept)
        begins = 0
        for epoch, end in list(self.ended.items()):
            if begins > kept:
                del self.ended[epoch]
            else:
                self.ended[epoch] = min(end, kept)
            begins = end

    @property
    def begins(self) -> int:
        """Where the epoch that is going on began."""
        return max(self.ended.values(), default=0)

    def holds(self, cursor: dict[str, Any]) -> bool:
        """Whether a reader at the cursor has seen what is in the log, and its rest is there."""
        is_current = cursor["epoch"] == self.epoch
        end = len(self.entries) if is_current else self.ended.get(cursor["epoch"], -1)
        return self.trimmed <= cursor["offset"] <= end

    def follows(self, old: tuple[str, int], new: tuple[str, int]) -> bool:
        """Whether an entry is the one after another, in the same epoch or where that ended."""
        return new[1] == old[1] + 1 and (new[0] == old[0] or (*old, new[0]) in self.joints)

    def epoch_of(self, offset: int) -> str:
        """The epoch that an entry was written in."""
        return next((epoch for epoch, end in self.ended.items() if offset <= end), self.epoch)

    def changes_at(self, conversation_id: str, epoch: str, offset: int) -> list[dict[str, Any]]:
        """Return the pushes for a reader who stands at the end of an epoch."""
        epochs = [*self.ended, self.epoch]
        if epoch not in self.ended:
            return []
        found = []
        for old, new in itertools.pairwise(epochs[epochs.index(epoch) :]):
            if self.ended[old] != offset:
                break
            found.append(
                {
                    "type": "epoch_changed",
                    "conversation_id": conversation_id,
                    "from": {"epoch": old, "offset": offset},
                    "to": {"epoch": new, "offset": offset},
                }
            )
        return found

    def event(self, conversation_id: str, first: int, last: int) -> dict[str, Any]:
        """Return entries `first` … `last` of one epoch as one event."""
        delta = "".join(self.entries[first - 1 : last])
        message = {
            "type": "event",
            "conversation_id": conversation_id,
            "epoch": self.epoch_of(last),
            "offset": last,
            "event": {"type": "TEXT_MESSAGE_CONTENT", "delta": delta},
        }
        return message if first == last else {**message, "from_offset": first}


class ModelGateway:
    """A gateway with one client. `wire` holds what is on its way to the client."""

    def __init__(self, names: list[str], random: Random) -> None:
        self.logs = {name: Log() for name in names}
        self.accepted: dict[str, dict[str, int]] = {name: {} for name in names}
        self.wire: deque[dict[str, Any]] = deque()
        self.is_faulty = True
        self._random = random
        self._attached: set[str] = set()
        self._sent_to: dict[str, int] = {}
        self._serial = 0

    # --- what happens -----------------------------------------------------------------------------

    def append(self, name: str) -> int:
        """Something happens in the conversation; return its offset."""
        self._serial += 1
        log = self.logs[name]
        log.entries.append(f"{self._serial} ")
        self._publish(name)
        return len(log.entries)

    def trim(self, name: str) -> None:
        """The log forgets its older half."""
        self.logs[name].trimmed = len(self.logs[name].entries) // 2

    def fail_over(self, name: str) -> None:
        """Redis lost the end of the log: another epoch, and a snapshot to who had seen that."""
        self._change_epoch(name, kept=len(self.logs[name].entries) // 2)

    def change_epoch(self, name: str) -> None:
        """Redis failed over and lost nothing: another epoch, and a word to who listens."""
        self._change_epoch(name, kept=len(self.logs[name].entries))

    def _change_epoch(self, name: str, *, kept: int) -> None:
        self._serial += 1
        log = self.logs[name]
        log.cut(kept)
        log.begin_epoch(f"e{self._serial}")
        if name not in self._attached:
            return
        if self._sent_to[name] > kept:
            self.wire.append(self._snapshot(name))
            self._sent_to[name] = kept
        else:
            self.wire.extend(log.changes_at(name, log.epoch_of(kept), kept))

    def drop(self) -> None:
        """The link is gone, and all that was on it."""
        self.wire.clear()
        self._attached.clear()

    def _publish(self, name: str) -> None:
        if name not in self._attached:
            return
        log, last = self.logs[name], len(self.logs[name].entries)
        fate = self._random.random() if self.is_faulty else 1.0
        if fate < 0.1:
            return  # sent later, merged with the next, or lost
        first = max(self._sent_to[name], log.begins) + 1  # none is of two epochs
        if fate < 0.2:
            first = last  # what was held back before is lost: a gap
        self._sent_to[name] = last
        copies = 2 if 0.2 <= fate < 0.3 else 1
        self.wire.extend([log.event(name, first, last)] * copies)

    # --- requests ---------------------------------------------------------------------------------

    def receive(self, frame: str | bytes) -> None:
        """Take a frame of the client."""
        request = msgspec.json.decode(frame)
        match request["type"]:
            case "connect":
                self._connect(request)
            case "join_conversation":
                self._join(request)
            case "send_message":
                self._send(request)

    def _reply(self, request: dict[str, Any], kind: str, **fields: Any) -> None:
        self.wire.append({"type": kind, "reply_to": request["id"], **fields})

    def _connect(self, request: dict[str, Any]) -> None:
        cursors = request.get("cursors", {})
        known = [name for name in cursors if self._random.random() < 0.8]
        standings = {name: self._standing(name, cursors[name]) for name in known}
        self._reply(
            request,
            "session_ready",
            session_id="s_1",
            resume_token="r",
            resumed=True,
            conversations=standings,
        )
        for name in known:
            self._replay(name, cursors[name])
        self._live(known)

    def _join(self, request: dict[str, Any]) -> None:
        name, cursor = request["conversation_id"], request.get("cursor")
        standing = self._standing(name, cursor)
        self._reply(request, "joined", conversation_id=name, **standing)
        self._replay(name, cursor)
        self._live([name])

    def _standing(self, name: str, cursor: dict[str, Any] | None) -> dict[str, Any]:
        log = self.logs[name]
        mode = "fresh" if cursor is None else "tail" if log.holds(cursor) else "snapshot"
        return {"mode": mode, "epoch": log.epoch, "offset": len(log.entries), "replayed": 0}

    def _replay(self, name: str, cursor: dict[str, Any] | None) -> None:
        log = self.logs[name]
        self._attached.add(name)
        self._sent_to[name] = len(log.entries)
        if cursor is None:
            return
        if not log.holds(cursor):
            self.wire.append(self._snapshot(name))
            return
        self.wire.extend(log.changes_at(name, cursor["epoch"], cursor["offset"]))
        for offset in range(cursor["offset"] + 1, len(log.entries) + 1):
            self.wire.append(log.event(name, offset, offset))
            self.wire.extend(log.changes_at(name, log.epoch_of(offset), offset))

    def _live(self, names: list[str]) -> None:
        offsets = {name: len(self.logs[name].entries) for name in names}
        self.wire.append({"type": "live", "conversations": offsets})

    def _snapshot(self, name: str) -> dict[str, Any]:
        log = self.logs[name]
        text = {"message_id": SNAPSHOT_HOLDS, "seq": 1, "role": "user"}
        return {
            "type": "snapshot",
            "conversation_id": name,
            "epoch": log.epoch,
            "offset": len(log.entries),
            "messages": [{**text, "content": "".join(log.entries)}],
        }

    def _send(self, request: dict[str, Any]) -> None:
        name, message_id = request["conversation_id"], request["client_message_id"]
        if self.is_faulty and self._random.random() < 0.2:
            self._reply(request, "error", code="rate_limited", retryable=True, retry_after_ms=100)
            return
        is_duplicate = message_id in self.accepted[name]
        if not is_duplicate:
            self.accepted[name][message_id] = self.append(name)
        self._reply(
            request,
            "message_accepted",
            conversation_id=name,
            message_id=f"m_{message_id}",
            client_message_id=message_id,
            epoch=self.logs[name].epoch,
            offset=self.accepted[name][message_id],
            duplicate=is_duplicate,
        )
