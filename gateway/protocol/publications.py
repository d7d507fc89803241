"""Events as they go out: encoded once a codec and joined once, for all their receivers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gateway.protocol.blanked import DELETED, UPDATED
from gateway.protocol.json_text import JsonText
from gateway.protocol.unreadable import CANNOT, PLACEHOLDER, tell_unreadable

FRAME_OVERHEAD = 128  # bytes around an event: the `event` push with ids of usual length
MERGED_MAX_BYTES = 65_536  # a merged frame stays well below what a client takes
_TEXT, _DELTA = b'{"type":"TEXT_MESSAGE_CONTENT",', b',"delta":"'
LEFT = b'{"type":"PARTICIPANT_LEFT"'
# An edit in a conversation whose participants see its history from joining on (lua/blanking.lua):
# some may not see the message.
_RESTRICTED = UPDATED + b'"history":"from_joining"'
# After one of these, more is to be done than to deliver it.
_ENDS_BATCH = (LEFT, UPDATED, DELETED)
# What those who do not see the message get at its epoch and offset (docs/protocol.md, The log).
HIDDEN = JsonText(b'{"type":"CUSTOM","name":"hidden_event","value":null}')

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.protocol.decoder import FrameEncoder


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
        return self.event.data.startswith(_ENDS_BATCH)

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


class Shared:
    """What many receivers get alike: what a codec makes of it is made once for all of them."""

    __slots__ = ("_payloads", "_wires", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._payloads: dict[str, list[bytes]] = {}
        self._wires: dict[str, bytes] = {}

    def _encoded(self, encoder: FrameEncoder) -> list[bytes]:
        raise NotImplementedError

    def payloads(self, encoder: FrameEncoder) -> list[bytes]:
        """The messages, one payload each."""
        payloads = self._payloads.get(encoder.codec)
        if payloads is None:
            payloads = self._payloads[encoder.codec] = self._encoded(encoder)
        return payloads

    def wire(self, encoder: FrameEncoder) -> bytes:
        """The messages as finished WebSocket frames, joined."""
        wire = self._wires.get(encoder.codec)
        if wire is None:
            frames = [encoder.frame(payload) for payload in self._encoded(encoder)]
            wire = self._wires[encoder.codec] = b"".join(frames)
        return wire


class Batch(Shared):
    """Adjacent events of one conversation, which their receivers get in one write; never empty."""

    __slots__ = ("_is_restricted", "_leavers", "events")

    def __init__(self, events: Sequence[Publication], *, size: int | None = None) -> None:
        super().__init__(sum([event.size for event in events]) if size is None else size)
        self.events = events
        self._leavers: frozenset[str | None] | None = None
        self._is_restricted = False

    def is_from_log_only(self, subject: str) -> bool:
        """Whether only the log knows what a subject may have of these events.

        It takes no part any more after one of them, or not all see one.
        """
        if self._leavers is None:
            self._leavers = frozenset([event.leaver for event in self.events])
            self._is_restricted = any(event.is_restricted for event in self.events)
        return self._is_restricted or subject in self._leavers

    def _encoded(self, encoder: FrameEncoder) -> list[bytes]:
        try:
            return encoder.events(self.events)
        except CANNOT:  # one of them; the others are sent as they are
            return [_encoded_alone(event, encoder) for event in self.events]


def _encoded_alone(event: Publication, encoder: FrameEncoder) -> bytes:
    try:
        (payload,) = encoder.events([event])
    except CANNOT as exc:
        (payload,) = encoder.events([event.replaced(exc)])
    return payload


class Pushes(Shared):
    """Finished pushes that are not in the log."""

    __slots__ = ("_pushes",)

    def __init__(self, pushes: Sequence[JsonText]) -> None:
        super().__init__(sum([len(push.data) for push in pushes]))
        self._pushes = pushes

    def _encoded(self, encoder: FrameEncoder) -> list[bytes]:
        payloads = []
        for push in self._pushes:
            with contextlib.suppress(*CANNOT):  # it is promised to nobody
                payloads.append(encoder.passed_on(push))
        return payloads


def batches(events: Iterable[Publication], *, max_bytes: int) -> Iterator[Batch]:
    """Cut events into batches of at most `max_bytes`, of one epoch; one that `ends_batch` is last.

    An event larger than that has a batch of its own; who left must hear nothing that follows.
    """
    some: list[Publication] = []
    size = 0
    for event in events:
        if some and (size + event.size > max_bytes or event.epoch != some[0].epoch):
            yield Batch(some, size=size)
            some, size = [], 0
        some.append(event)
        size += event.size
        if event.event.data.startswith(_ENDS_BATCH):
            yield Batch(some, size=size)
            some, size = [], 0
    if some:
        yield Batch(some, size=size)
