"""Frames in: each message to the part of the session it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway_client.errors import BadFrame
from gateway_client.protocol.codec import place_in
from gateway_client.protocol.messages import (
    CustomPush,
    Disconnect,
    EpochChanged,
    Event,
    Hello,
    Live,
    Notice,
    Presence,
    SessionWarning,
    Snapshot,
    Typing,
    UnreadableEvent,
    readable_parts,
)

if TYPE_CHECKING:
    from gateway_client.errors import RequestFailed
    from gateway_client.protocol.codec import Codec, Frame
    from gateway_client.session.exchange import Exchange
    from gateway_client.session.reader import Reader

_NOTICES: dict[str, type[Notice]] = {
    "presence": Presence,
    "typing": Typing,
    "session_warning": SessionWarning,
    "live": Live,
    "epoch_changed": EpochChanged,
}
# Best effort: an application that does not take its notices loses the newest.
MAX_NOTICES = 1000


class Intake:
    """Decodes frames and hands their messages on.

    Args:
        codec: How frames are encoded.
        exchange: Gets the replies.
        reader: Gets events and snapshots.

    Attributes:
        hello: How the server introduced itself on this link.
        hint: Why it is about to close, if it said so.
        refusal: An error that answers no request of ours.
        is_token_expiring: The token has to be replaced soon.
        unreadable: How many events, and parts of snapshots, were stepped over.
    """

    def __init__(self, *, codec: Codec, exchange: Exchange, reader: Reader) -> None:
        self.hello: Hello | None = None
        self.hint: Disconnect | None = None
        self.refusal: RequestFailed | None = None
        self.is_token_expiring = False
        self.unreadable = 0
        self._codec = codec
        self._exchange = exchange
        self._reader = reader
        self._notices: list[Notice] = []

    def link_opened(self) -> None:
        """Forget what the last link said of itself."""
        self.hello = self.hint = self.refusal = None
        self.is_token_expiring = False

    def take_notices(self) -> list[Notice]:
        """Return the pushes for the application that are not in the log."""
        notices, self._notices = self._notices, []
        return notices

    def receive(self, frame: Frame, now: float) -> None:
        """Take in one frame.

        An event that cannot be read is stepped over, if it says where it stands: its link would
        bring it again and again.

        Raises:
            BadFrame: The protocol does not allow it. What stood before it in a batch is taken.
        """
        sheds = self._reader.inbox.is_full
        try:
            messages = self._codec.decode(frame)
        except BadFrame as exc:
            skipped = place_in(frame, problem=str(exc))
            if skipped is None:
                raise
            self._entry(skipped, size_bytes=0, sheds=sheds, now=now)
            return
        try:
            for message in messages:
                share = len(frame) // len(messages)
                self._take(message, size_bytes=share, sheds=sheds, now=now)
        except msgspec.ValidationError as exc:
            raise BadFrame(str(exc)) from exc

    def _take(self, message: dict[str, Any], *, size_bytes: int, sheds: bool, now: float) -> None:
        if message.get("reply_to") is not None:
            self._exchange.reply(message, now)
            return
        match message.get("type"):
            case "event" | "snapshot":
                entry = self._read_entry(message)
                self._entry(entry, size_bytes=size_bytes, sheds=sheds, now=now)
            case str(name) if name in _NOTICES:
                self._notice(msgspec.convert(message, _NOTICES[name]), now)
            case str(name):
                self._control(name, message)
            case _:
                raise BadFrame("a message without a type")

    def _entry(
        self, entry: Event | UnreadableEvent | Snapshot, *, size_bytes: int, sheds: bool, now: float
    ) -> None:
        if isinstance(entry, Snapshot):
            self._reader.snapshot(entry, size_bytes=size_bytes, sheds=sheds, now=now)
            return
        if isinstance(entry, UnreadableEvent):
            self.unreadable += 1
        self._reader.event(entry, size_bytes=size_bytes, sheds=sheds, now=now)

    def _read_entry(self, message: dict[str, Any]) -> Event | UnreadableEvent | Snapshot:
        if message["type"] == "event":
            try:
                return msgspec.convert(message, Event)
            except msgspec.ValidationError as exc:
                return msgspec.convert({**message, "problem": str(exc)}, UnreadableEvent)
        try:
            return msgspec.convert(message, Snapshot)
        except msgspec.ValidationError:
            kept, left_out = readable_parts(message)
            snapshot = msgspec.convert(kept, Snapshot)
            self.unreadable += left_out
            return snapshot

    def _notice(self, notice: Notice, now: float) -> None:
        match notice:
            case Live():
                self._reader.live(notice, now)
            case EpochChanged():
                self._reader.epoch_changed(notice)
            case SessionWarning(code="token_expires_soon"):
                self.is_token_expiring = True
        self._keep(notice)

    def _control(self, name: str, message: dict[str, Any]) -> None:
        match name:
            case "hello":
                self.hello = msgspec.convert(message, Hello)
                self._exchange.limits = self.hello.limits
            case "disconnect":
                self.hint = msgspec.convert(message, Disconnect)
            case "error":
                self.refusal = self._exchange.failure(message)
            case "pong":
                pass  # any frame counts as life
            case _:
                self._keep(CustomPush(type=name, data=message))

    def _keep(self, notice: Notice) -> None:
        if len(self._notices) < MAX_NOTICES:
            self._notices.append(notice)
