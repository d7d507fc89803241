"""A made-up conversation that was told truly, over one lossy failover, to lie about."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from tests.failover.stream import Stream, Surviving

Message = dict[str, Any]
ROOM = "c_1"
FIRST, SECOND = "aaaa-bbbbbb-1", "cccc-bbbbbb-2"
FORK = 9  # the offset where the first epoch ended in the log that survived


def event_at(epoch: str, offset: int, kind: str, **fields: Any) -> Message:
    """Return a frame `event`."""
    event = {"type": kind} | fields
    frame = {"type": "event", "conversation_id": ROOM, "epoch": epoch, "offset": offset}
    return frame | {"event": event}


def message(seq: int, author: str, content: str, **fields: Any) -> Message:
    """Return a message; a person's has a client_message_id."""
    own = {} if author.startswith("agent:") else {"client_message_id": f"{author}-{content}"}
    role = "assistant" if author.startswith("agent:") else "user"
    made = {"message_id": f"m_{content}", "seq": seq, "role": role, "author": author}
    return made | {"content": content, "created_at": 1.0} | own | fields


def created(epoch: str, offset: int, told: Message) -> Message:
    """Return the event of a message."""
    return event_at(epoch, offset, "MESSAGE_CREATED", message=told)


def patched(epoch: str, offset: int, version: int) -> Message:
    """Return the event of a context's new version."""
    patch = [{"op": "add", "path": "/memory/n", "value": version}]
    given = {"version": version, "baseVersion": version - 1, "patch": patch, "by": "ann"}
    return event_at(epoch, offset, "CONTEXT_UPDATED", **given)


def tool_used(epoch: str, offset: int, version: int) -> Message:
    """Return the event of a finished tool call."""
    patch = [{"op": "add", "path": "/tool_calls/-", "value": {"id": f"call{version}"}}]
    given = {"version": version, "baseVersion": version - 1, "patch": patch, "by": "agent:demo"}
    return event_at(epoch, offset, "CONTEXT_UPDATED", **given)


def renamed(offset: int = FORK) -> Message:
    """Return the push `epoch_changed` at an offset."""
    before, after = {"epoch": FIRST, "offset": offset}, {"epoch": SECOND, "offset": offset}
    return {"type": "epoch_changed", "conversation_id": ROOM, "from": before, "to": after}


def position(mode: str, epoch: str, offset: int) -> Message:
    """Return what `session_ready` tells of the conversation."""
    return {"type": "position", "mode": mode, "epoch": epoch, "offset": offset, "replayed": 0}


ANSWER = message(3, "agent:demo", "1 2 3", message_id="m_run", run_id="r_1", status="complete")
LOG = [
    created(FIRST, 3, message(1, "ann", "one")),
    created(FIRST, 4, message(2, "bob", "two")),
    event_at(FIRST, 5, "RUN_STARTED", threadId=ROOM, runId="r_1"),
    event_at(FIRST, 6, "TEXT_MESSAGE_START", messageId="m_run", role="assistant"),
    event_at(FIRST, 7, "TEXT_MESSAGE_CONTENT", messageId="m_run", delta="1"),
    event_at(FIRST, 8, "TEXT_MESSAGE_CONTENT", messageId="m_run", delta=" 2"),
    patched(FIRST, 9, 1),
    event_at(SECOND, 10, "TEXT_MESSAGE_CONTENT", messageId="m_run", delta=" 3"),
    event_at(SECOND, 11, "TEXT_MESSAGE_END", messageId="m_run"),
    created(SECOND, 12, ANSWER),
    tool_used(SECOND, 13, 2),
    created(SECOND, 14, message(4, "ann", "three")),
]
GHOST = created(FIRST, 10, message(3, "bob", "lost"))  # written by the old master alone
HISTORY = [message(1, "ann", "one"), message(2, "bob", "two"), ANSWER, message(4, "ann", "three")]
CONTEXT = {"version": 2, "memory": {"n": 1}, "workflow": {}, "tool_calls": [{"id": "call2"}]}
RUNNING = {"run_id": "r_1", "agent": "demo", "message_id": "m_run", "text": "1 2 3"}
SNAPSHOT = {
    "type": "snapshot",
    "conversation_id": ROOM,
    "epoch": SECOND,
    "offset": 10,
    "messages": HISTORY[:2],
    "has_more": False,
    "context": {"version": 1, "memory": {"n": 1}, "workflow": {}, "tool_calls": []},
    "active_run": RUNNING,
}


@dataclass
class Truth:
    """Three clients: two go on over the failover, one saw a ghost and was given a snapshot."""

    ann: Stream
    bob: Stream
    eve: Stream
    surviving: Surviving

    @property
    def streams(self) -> list[Stream]:
        """All of them."""
        return [self.ann, self.bob, self.eve]

    def survives(self, **fields: Any) -> None:
        """Change what is there in the end."""
        self.surviving = replace(self.surviving, **fields)


def truth() -> Truth:
    """Return it, free to be spoiled."""
    begun = position("fresh", FIRST, 2)
    through = [begun, *LOG[:7], renamed(), *LOG[7:]]
    back = [begun, *LOG[:4], position("tail", SECOND, 14), *LOG[4:7], renamed(), *LOG[7:]]
    told = [begun, *LOG[:7], GHOST, SNAPSHOT, *LOG[8:]]
    ann, bob, eve = (
        Stream(name, ROOM, copy.deepcopy(frames))
        for name, frames in (("ann", through), ("bob", back), ("eve", told))
    )
    ann.accepted = [accepted(1, "one", 3), accepted(4, "three", 14, epoch=SECOND)]
    events = {(frame["epoch"], frame["offset"]): frame["event"] for frame in LOG}
    end = {"epoch": SECOND, "offset": 14}
    surviving = Surviving(HISTORY, CONTEXT, end, events, base=(FIRST, 2))
    return Truth(ann, bob, eve, copy.deepcopy(surviving))


def accepted(seq: int, content: str, offset: int, *, epoch: str = FIRST) -> Message:
    """Return what is recorded of an accepted message of ann's."""
    sent = {"client_message_id": f"ann-{content}", "content": content, "durability": "replicated"}
    return sent | {"message_id": f"m_{content}", "epoch": epoch, "offset": offset, "seq": seq}
