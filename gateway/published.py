"""An event as it goes out: encoded once a codec, for all its receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.codecs import ENCODERS
from gateway.json_text import JsonText

FRAME_OVERHEAD = 128  # bytes around an event: the `event` push with ids of usual length
MERGED_MAX_BYTES = 65_536  # a merged frame stays well below what a client takes
_TEXT, _DELTA = b'{"type":"TEXT_MESSAGE_CONTENT",', b',"delta":"'
_LEFT = b'{"type":"PARTICIPANT_LEFT"'

if TYPE_CHECKING:
    from gateway.codecs import CodecName, Frame


class Published:
    """One entry of a conversation's log, with its frames.

    `size` is what a frame of it costs, in bytes: the event and what is put around it.
    """

    __slots__ = (
        "_frames",
        "conversation_id",
        "epoch",
        "event",
        "from_offset",
        "offset",
        "size",
    )

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
        self._frames: dict[CodecName, Frame] = {}

    @property
    def leaver(self) -> str | None:
        """The subject who takes no part any more after this event; None for any other event."""
        if not self.event.data.startswith(_LEFT):
            return None
        subject: str = self.event.value()["subject"]
        return subject

    def frame(self, codec: CodecName) -> Frame:
        """The `event` push as a frame, built at the first call and shared from then on."""
        frame = self._frames.get(codec)
        if frame is None:
            frame = ENCODERS[codec].event(
                self.conversation_id, self.epoch, self.offset, self.event, self.from_offset
            )
            self._frames[codec] = frame
        return frame

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
