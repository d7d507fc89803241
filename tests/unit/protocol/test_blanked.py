"""What an edit or a deletion makes of the events before it, in memory as in the log."""

from __future__ import annotations

import pytest

from gateway.protocol.blanked import change_of, may_be_one
from gateway.protocol.json_text import JsonText
from gateway.protocol.publications import Publication

MESSAGE = {"message_id": "m_1", "seq": 1, "content": "secret"}
OTHER = {"message_id": "m_11", "seq": 2, "content": "other"}
EDITED = MESSAGE | {"content": "new", "edited_at": 1.0}
CREATED = {"type": "MESSAGE_CREATED", "message": MESSAGE}
EDIT = {"type": "MESSAGE_UPDATED", "message": EDITED}
DELETION = {"type": "MESSAGE_DELETED", "messageId": "m_1"}
DELTA = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m_1", "delta": "sec"}
REMOVED = {"type": "CUSTOM", "name": "text_removed", "value": {"messageId": "m_1"}}
UNTOUCHED = [
    {"type": "MESSAGE_CREATED", "message": OTHER},
    {"type": "MESSAGE_UPDATED", "message": OTHER | {"content": "m_1"}},
    {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m_11", "delta": "x"},
    {"type": "TEXT_MESSAGE_END", "messageId": "m_1"},
    {"type": "CUSTOM", "name": "x", "value": DELETION},
    DELETION,
]


def event(value: object, offset: int = 9) -> Publication:
    """Return an event of the log."""
    return Publication("c_1", "x", offset, JsonText.of(value))


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (DELETION, CREATED, DELETION),
        (DELETION, EDIT, REMOVED),
        (DELETION, DELTA, REMOVED),
        (EDIT, CREATED, {"type": "MESSAGE_CREATED", "message": EDITED}),
        (EDIT, EDIT, REMOVED),
        *((change, other, other) for change in (DELETION, EDIT) for other in UNTOUCHED),
    ],
)
def test_events_after_a_change(change: object, before: object, after: object) -> None:
    """Those of other messages, and those without text, are not touched."""
    made = change_of(event(change))
    assert made is not None
    assert (made.message_id, made.offset) == (b"m_1", 9)
    assert made.of(JsonText.of(before)).value() == after


@pytest.mark.parametrize("other", [CREATED, DELTA, REMOVED, {"type": "MESSAGE_DELETED"}])
def test_other_events_change_nothing(other: object) -> None:
    """Only an edit and a deletion of a message do."""
    assert change_of(event(other)) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (CREATED, CREATED, True),
        (CREATED, DELETION, True),
        (CREATED, {"type": "MESSAGE_CREATED", "message": EDITED}, True),
        (DELTA, REMOVED, True),
        (EDIT, REMOVED, True),
        (CREATED, DELETION | {"messageId": "m_2"}, False),
        (CREATED, {"type": "MESSAGE_CREATED", "message": MESSAGE | {"content": "x"}}, False),
        (DELTA, DELTA | {"delta": "x"}, False),
        (CREATED, {"type": "OTHER"}, False),
        (DELETION, {"type": "OTHER"}, False),
        ({"type": "OTHER"}, {"type": "OTHER", "n": 1}, False),
    ],
)
def test_a_blanked_entry_is_no_fork(one: object, other: object, same: bool) -> None:
    """Two different events under one name are, unless one is what became of the other."""
    assert may_be_one(JsonText.of(one), JsonText.of(other)) is same
    assert may_be_one(JsonText.of(other), JsonText.of(one)) is same
