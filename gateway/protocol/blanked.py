"""What the log holds in the place of text that was edited or deleted.

The scripts put it there (lua/blanking.lua); here the same is done to what is in memory, when the
edit or deletion is heard. An entry keeps its epoch and offset:

    MESSAGE_CREATED        the message as it is now; of a deleted one, MESSAGE_DELETED
    an earlier edit        CUSTOM `text_removed`
    text of a deleted reply  the same
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.protocol.json_text import JsonText
from gateway.protocol.publications import DELETED, UPDATED
from gateway.protocol.unreadable import CANNOT

if TYPE_CHECKING:
    from gateway.protocol.publications import Publication

CREATED = b'{"type":"MESSAGE_CREATED",'
_TEXT = b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"%b"'
_REMOVED = b'{"type":"CUSTOM","name":"text_removed","value":{"messageId":"%b"}}'
_HEAD_BYTES = 200  # of an event: its message's id is within these
_EDITED = b'"edited_at":'


class _Of(msgspec.Struct):
    """As much of an event as tells whose it is."""

    messageId: str = ""  # noqa: N815  # the wire's name
    message: msgspec.Raw = msgspec.Raw(b"{}")
    name: str = ""
    value: dict[str, object] | None = None


class _Message(msgspec.Struct):
    message_id: str = ""


class Change(msgspec.Struct, frozen=True):
    """An edit or a deletion: of which message, at which offset, and what is in the place of it."""

    message_id: bytes
    offset: int
    created_as: JsonText

    def of(self, event: JsonText) -> JsonText:
        """An earlier event as the log has it now; the same object, if it holds no text of it."""
        data = event.data
        if data.startswith(CREATED):
            return self.created_as if self._names(data) else event
        is_edit = data.startswith(UPDATED) and self._names(data)
        if is_edit or data.startswith(_TEXT % self.message_id):
            return JsonText(_REMOVED % self.message_id)
        return event

    def _names(self, data: bytes) -> bool:
        return b'"message":{"message_id":"%b"' % self.message_id in data[:_HEAD_BYTES]


def change_of(published: Publication) -> Change | None:
    """What an event changes of those before it; None if nothing."""
    data = published.event.data
    if not data.startswith((UPDATED, DELETED)):
        return None
    try:
        found = msgspec.json.decode(data, type=_Of)
        if data.startswith(DELETED):
            message_id, becomes = found.messageId, published.event
        else:
            message_id = msgspec.json.decode(found.message, type=_Message).message_id
            becomes = JsonText(CREATED + b'"message":%b}' % found.message)
    except CANNOT:
        return None
    return Change(message_id.encode(), published.offset, becomes) if message_id else None


def may_be_one(one: JsonText, other: JsonText) -> bool:
    """Whether two events can be the same entry: one of them before its text was taken out."""
    if one.data == other.data:
        return True
    is_blanked = any(_is_blanked(event.data) for event in (one, other))
    return is_blanked and _message_of(one.data) == _message_of(other.data) != ""


def _is_blanked(data: bytes) -> bool:
    if data.startswith(CREATED):
        return _EDITED in data
    return data.startswith((DELETED, b'{"type":"CUSTOM","name":"text_removed",'))


def _message_of(data: bytes) -> str:
    """The id of the message that an event is about; empty if it is about none."""
    try:
        found = msgspec.json.decode(data, type=_Of)
        if found.value is not None:
            return str(found.value.get("messageId", ""))
        named = found.messageId
        return named or msgspec.json.decode(found.message, type=_Message).message_id
    except CANNOT:
        return ""
