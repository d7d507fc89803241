"""An event as it goes out: encoded once a codec, for all its receivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.codecs import ENCODERS

if TYPE_CHECKING:
    from gateway.codecs import CodecName, Frame
    from gateway.json_text import JsonText


class Published:
    """One entry of a conversation's log, with its frames.

    `size` is the size of the event in bytes, a measure of what a frame of it costs.
    """

    __slots__ = ("_frames", "conversation_id", "epoch", "event", "offset", "size")

    def __init__(self, conversation_id: str, epoch: str, offset: int, event: JsonText) -> None:
        self.conversation_id = conversation_id
        self.epoch = epoch
        self.offset = offset
        self.event = event
        self.size = len(event.data)
        self._frames: dict[CodecName, Frame] = {}

    def frame(self, codec: CodecName) -> Frame:
        """The `event` push as a frame, built at the first call and shared from then on."""
        frame = self._frames.get(codec)
        if frame is None:
            frame = ENCODERS[codec].event(self.conversation_id, self.epoch, self.offset, self.event)
            self._frames[codec] = frame
        return frame
