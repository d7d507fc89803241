"""What many receivers get alike: encoded once an encoder and joined once, for all of them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gateway.protocol.publications import ENDS_BATCH, Publication
from gateway.protocol.unreadable import CANNOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.protocol.encoders import Encoder
    from gateway.protocol.json_text import JsonText


class Shared:
    """What many receivers get alike: what an encoder makes of it is made once for all of them."""

    __slots__ = ("_payloads", "_wires", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._payloads: dict[Encoder, list[bytes]] = {}
        self._wires: dict[Encoder, bytes] = {}

    def encoded(self, encoder: Encoder) -> list[bytes]:
        """What an encoder makes of each message; made anew, for the encoder's own use."""
        raise NotImplementedError

    def payloads(self, encoder: Encoder) -> list[bytes]:
        """The messages, each by itself, for those that cannot be sent them joined."""
        payloads = self._payloads.get(encoder)
        if payloads is None:
            payloads = self._payloads[encoder] = self.encoded(encoder)
        return payloads

    def wire(self, encoder: Encoder) -> bytes:
        """The messages as they go out, joined: finished frames of a WebSocket."""
        wire = self._wires.get(encoder)
        if wire is None:
            wire = self._wires[encoder] = encoder.encode_batch(self)
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

    def encoded(self, encoder: Encoder) -> list[bytes]:
        """What an encoder makes of each event; one that it fails at is replaced, and logged."""
        try:
            return encoder.encode_events(self.events)
        except CANNOT:  # one of them; the others are sent as they are
            return [part for event in self.events for part in _encoded_alone(event, encoder)]


def _encoded_alone(event: Publication, encoder: Encoder) -> list[bytes]:
    try:
        return encoder.encode_events([event])
    except CANNOT as exc:
        return encoder.encode_events([event.replaced(exc)])


class Pushes(Shared):
    """Finished pushes that are not in the log."""

    __slots__ = ("_pushes",)

    def __init__(self, pushes: Sequence[JsonText]) -> None:
        super().__init__(sum([len(push.data) for push in pushes]))
        self._pushes = pushes

    def encoded(self, encoder: Encoder) -> list[bytes]:
        """What an encoder makes of each push; one that it fails at is left out."""
        payloads = []
        for push in self._pushes:
            with contextlib.suppress(*CANNOT):  # it is promised to nobody
                payloads.append(encoder.encode_push(push))
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
        if event.event.data.startswith(ENDS_BATCH):
            yield Batch(some, size=size)
            some, size = [], 0
    if some:
        yield Batch(some, size=size)
