"""Events as they go out: entries of a log, of which adjacent ones may be merged."""

from __future__ import annotations

from gateway.protocol.json_text import JsonText
from gateway.protocol.unreadable import PLACEHOLDER, tell_unreadable

FRAME_OVERHEAD = 128  # bytes around an event: the `event` push with ids of usual length
MERGED_MAX_BYTES = 65_536  # a merged frame stays well below what a client takes
_TEXT, _DELTA = b'{"type":"TEXT_MESSAGE_CONTENT",', b',"delta":"'
LEFT = b'{"type":"PARTICIPANT_LEFT"'
UPDATED, DELETED = b'{"type":"MESSAGE_UPDATED",', b'{"type":"MESSAGE_DELETED",'
# An edit in a conversation whose participants see its history from joining on (lua/blanking.lua):
# some may not see the message.
_RESTRICTED = UPDATED + b'"history":"from_joining"'
# After one of these, more is to be done than to deliver it.
ENDS_BATCH = (LEFT, UPDATED, DELETED)
# What those who do not see the message get at its epoch and offset (docs/protocol.md, The log).
HIDDEN = JsonText(b'{"type":"CUSTOM","name":"hidden_event","value":null}')


class Publication:
    """One entry of a conversation's log.

    `size` is what a frame of it costs, in bytes: the event and what is put around it.
    `from_offset` is the first of several entries that were merged into this one.
    """

    __slots__ = ("conversation_id", "epoch", "event", "from_offset", "offset", "size")

    def __init__(
        self,
        conversation_id: str,
        epoch: str,
        offset: int,
        event: JsonText,
        *,
        from_offset: int | None = None,
    ) -> None:
        self.conversation_id = conversation_id
        self.from_offset = from_offset
        self.epoch = epoch
        self.offset = offset
        self.event = event
        self.size = len(event.data) + FRAME_OVERHEAD

    @property
    def ends_batch(self) -> bool:
        """Whether it makes somebody leave, or changes what came before."""
        return self.event.data.startswith(ENDS_BATCH)

    @property
    def is_restricted(self) -> bool:
        """Whether not all participants may see it: each reads it from the log."""
        return self.event.data.startswith(_RESTRICTED)

    @property
    def leaver(self) -> str | None:
        """The subject who takes no part any more after this event; None for any other event."""
        if not self.event.data.startswith(LEFT):
            return None
        subject = self.event.value().get("subject")
        return subject if isinstance(subject, str) else None

    def replaced(self, problem: Exception) -> Publication:
        """The entry with the placeholder as its event, as somebody cannot take it; it is logged."""
        tell_unreadable(self.conversation_id, self.epoch, self.offset, problem)
        return Publication(
            self.conversation_id,
            self.epoch,
            self.offset,
            PLACEHOLDER,
            from_offset=self.from_offset,
        )

    def merged_with(self, following: Publication) -> Publication | None:
        """One entry for this one and the next, if both are text of the same message; else None.

        Events of a run are built by one writer (gateway/runs/emitter.py): a delta stands last.
        """
        head, comma, text = self.event.data.partition(_DELTA)
        if (
            not comma
            or not head.startswith(_TEXT)
            or self.conversation_id != (following.conversation_id)
        ):
            return None
        if (following.epoch, following.offset) != (self.epoch, self.offset + 1):
            return None
        other_head, _, more = following.event.data.partition(_DELTA)
        if other_head != head or self.size + following.size > MERGED_MAX_BYTES:
            return None
        event = JsonText(head + _DELTA + text[:-2] + more)
        return Publication(
            self.conversation_id,
            self.epoch,
            following.offset,
            event,
            from_offset=self.from_offset or self.offset,
        )
