"""An event as it goes out: encoded once a codec, for all its receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.codecs import ENCODERS

FRAME_OVERHEAD = 128  # bytes around an event: the `event` push with ids of usual length
_LEFT = b'{"type":"PARTICIPANT_LEFT"'

if TYPE_CHECKING:
    from gateway.codecs import CodecName, Frame
    from gateway.json_text import JsonText


class Published:
    """One entry of a conversation's log, with its frames.

    `size` is what a frame of it costs, in bytes: the event and what is put around it.
    """

    __slots__ = ("_frames", "conversation_id", "epoch", "event", "offset", "size")

    def __init__(self, conversation_id: str, epoch: str, offset: int, event: JsonText) -> None:
        self.conversation_id = conversation_id
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
            frame = ENCODERS[codec].event(self.conversation_id, self.epoch, self.offset, self.event)
            self._frames[codec] = frame
        return frame
