"""The protocol's promises about logs and sends, as a model that loses, repeats and merges frames.

For property tests of the session without I/O; behaviour on real sockets is tested at a real
gateway.
"""

from __future__ import annotations

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

    def event(self, conversation_id: str, first: int, last: int) -> dict[str, Any]:
        """Return entries `first` … `last` as one event."""
        delta = "".join(self.entries[first - 1 : last])
        message = {
            "type": "event",
            "conversation_id": conversation_id,
            "epoch": self.epoch,
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
        """Redis lost the end of the log: another epoch, and a snapshot to who listens."""
        self._serial += 1
        log = self.logs[name]
        log.epoch = f"e{self._serial}"
        del log.entries[len(log.entries) // 2 :]
        log.trimmed = min(log.trimmed, len(log.entries))
        if name in self._attached:
            self.wire.append(self._snapshot(name))
            self._sent_to[name] = len(log.entries)

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
        first = self._sent_to[name] + 1
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
        mode = "fresh" if cursor is None else "tail" if self._holds(log, cursor) else "snapshot"
        return {"mode": mode, "epoch": log.epoch, "offset": len(log.entries), "replayed": 0}

    @staticmethod
    def _holds(log: Log, cursor: dict[str, Any]) -> bool:
        is_within = log.trimmed <= cursor["offset"] <= len(log.entries)
        return cursor["epoch"] == log.epoch and is_within

    def _replay(self, name: str, cursor: dict[str, Any] | None) -> None:
        log = self.logs[name]
        self._attached.add(name)
        self._sent_to[name] = len(log.entries)
        if cursor is None:
            return
        if not self._holds(log, cursor):
            self.wire.append(self._snapshot(name))
            return
        for offset in range(cursor["offset"] + 1, len(log.entries) + 1):
            self.wire.append(log.event(name, offset, offset))

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
