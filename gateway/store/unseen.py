"""What a participant does not see of a conversation that shows its history from joining on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from gateway.protocol.json_text import JsonText
from gateway.protocol.publications import HIDDEN, Publication
from gateway.store.calls import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.store.redis.link import Reply

_TOOL_HASH_CHARS = 12  # lua/members.lua
_as_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Numbered(msgspec.Struct):
    """As much of a message as tells its place."""

    seq: int


class _Edit(msgspec.Struct):
    """As much of MESSAGE_UPDATED as tells which message it is."""

    message: _Numbered


class Unseen(msgspec.Struct, frozen=True):
    """What there was when somebody joined (lua/joining.lua): all up to here they do not see.

    `tool_call` is a hash of the newest finished one; `-` for none.
    """

    seq: int
    offset: int
    version: int
    tool_call: str

    def messages(self, found: Sequence[JsonText]) -> list[JsonText]:
        """Those that are seen."""
        decode = msgspec.json.decode
        return [item for item in found if decode(item.data, type=_Numbered).seq > self.seq]

    def event(self, event: Publication) -> Publication:
        """The event, or what is put in the place of an edit of a message that is not seen."""
        if not event.is_restricted:
            return event
        edit = msgspec.json.decode(event.event.data, type=_Edit)
        if edit.message.seq > self.seq:
            return event
        return Publication(event.conversation_id, event.epoch, event.offset, HIDDEN)

    def tool_calls(self, finished: bytes) -> JsonText:
        """Those that were finished since, of a JSON array of the newest."""
        calls: list[msgspec.Raw] = _as_list(finished)
        for index in range(len(calls) - 1, -1, -1):
            if _tool_hash(calls[index]) == self.tool_call:
                return JsonText(msgspec.json.encode(calls[index + 1 :]))
        return JsonText(finished)


def unseen_of(kept: Reply) -> Unseen | None:
    """What the scripts say that somebody does not see; None if they see all."""
    if not isinstance(kept, bytes):
        return None
    seq, offset, version, tool_call = text(kept).split(".")
    return Unseen(int(seq), int(offset), int(version), tool_call)


def _tool_hash(call: msgspec.Raw) -> str:
    return hashlib.sha1(call).hexdigest()[:_TOOL_HASH_CHARS]  # noqa: S324  # what Redis has
