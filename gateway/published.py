"""Events as they go out: encoded once a codec and joined once, for all their receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.json_text import JsonText

FRAME_OVERHEAD = 128  # bytes around an event: the `event` push with ids of usual length
MERGED_MAX_BYTES = 65_536  # a merged frame stays well below what a client takes
_TEXT, _DELTA = b'{"type":"TEXT_MESSAGE_CONTENT",', b',"delta":"'
_LEFT = b'{"type":"PARTICIPANT_LEFT"'

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.codecs import FrameEncoder


class Published:
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
    def leaver(self) -> str | None:
        """The subject who takes no part any more after this event; None for any other event."""
        if not self.event.data.startswith(_LEFT):
            return None
        subject: str = self.event.value()["subject"]
        return subject

    def merged_with(self, following: Published) -> Published | None:
        """One entry for this one and the next, if both are text of the same message; else None.

        Events of a run are built by one writer (gateway/emitter.py): a delta stands last.
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
        return Published(
            self.conversation_id,
            self.epoch,
            following.offset,
            event,
            from_offset=self.from_offset or self.offset,
        )


class Batch:
    """Adjacent events of one conversation, which their receivers get in one write.

    Never empty. What a codec makes of it is kept: a thousand receivers cost one encoding.
    """

    __slots__ = ("_leavers", "_payloads", "_wires", "events", "size")

    def __init__(self, events: Sequence[Published], *, size: int | None = None) -> None:
        self.events = events
        self.size = sum([event.size for event in events]) if size is None else size
        self._leavers: frozenset[str | None] | None = None
        self._payloads: dict[str, list[bytes]] | None = None
        self._wires: dict[str, bytes] = {}

    def is_left_by(self, subject: str) -> bool:
        """Whether a subject takes no part any more after one of these events."""
        if self._leavers is None:
            self._leavers = frozenset([event.leaver for event in self.events])
        return subject in self._leavers

    def payloads(self, encoder: FrameEncoder) -> list[bytes]:
        """The `event` pushes, one payload each."""
        if self._payloads is None:
            self._payloads = {}
        payloads = self._payloads.get(encoder.codec)
        if payloads is None:
            payloads = self._payloads[encoder.codec] = encoder.events(self.events)
        return payloads

    def wire(self, encoder: FrameEncoder) -> bytes:
        """The `event` pushes as finished WebSocket frames, joined."""
        wire = self._wires.get(encoder.codec)
        if wire is None:
            frames = [encoder.frame(payload) for payload in encoder.events(self.events)]
            wire = self._wires[encoder.codec] = b"".join(frames)
        return wire


class Pushes:
    """Finished pushes that are not in the log, for all who receive them together."""

    __slots__ = ("_pushes", "_wires", "size")

    def __init__(self, pushes: Sequence[JsonText]) -> None:
        self._pushes = pushes
        self._wires: dict[str, bytes] = {}
        self.size = sum([len(push.data) for push in pushes])

    def payloads(self, encoder: FrameEncoder) -> list[bytes]:
        """One payload each."""
        return [encoder.passed_on(push) for push in self._pushes]

    def wire(self, encoder: FrameEncoder) -> bytes:
        """As finished WebSocket frames, joined."""
        wire = self._wires.get(encoder.codec)
        if wire is None:
            frames = [encoder.frame(payload) for payload in self.payloads(encoder)]
            wire = self._wires[encoder.codec] = b"".join(frames)
        return wire


def batches(events: Iterable[Published], *, max_bytes: int) -> Iterator[Batch]:
    """Cut events into batches of at most `max_bytes`, and after each leaving.

    An event larger than that has a batch of its own; who left must hear nothing that follows.
    """
    some: list[Published] = []
    size = 0
    for event in events:
        if size + event.size > max_bytes and some:
            yield Batch(some, size=size)
            some, size = [], 0
        some.append(event)
        size += event.size
        if event.event.data.startswith(_LEFT):
            yield Batch(some, size=size)
            some, size = [], 0
    if some:
        yield Batch(some, size=size)
