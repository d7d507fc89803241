"""From what is typed to the answer that an interrupt wants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.agents.pydantic_ai.history import APPROVAL, RESULT
from gateway.cli.chat.answers import NoAnswerError, answer_of, how_to_answer
from gateway_client import Interrupt

BOOLEAN = {"type": "boolean"}
NUMBER = {"type": "number"}
TWO = {"type": "object", "properties": {"c1": APPROVAL, "c2": APPROVAL}, "required": ["c1", "c2"]}
MIXED = {"type": "object", "properties": {"c1": APPROVAL, "c2": RESULT}, "required": ["c1", "c2"]}


def asking(schema: dict[str, Any] | None) -> Interrupt:
    """Return an interrupt that wants this."""
    return Interrupt(id="i", run_id="r", reason="asked", response_schema=schema)


@pytest.mark.parametrize(
    ("schema", "typed", "answer"),
    [
        (None, "by all means", "by all means"),
        (None, "42", "42"),
        (None, '{"a": 1}', {"a": 1}),
        (APPROVAL, "yes", {"approved": True}),
        (APPROVAL, "No.", {"approved": False}),
        (APPROVAL, "no, too dear", {"approved": False, "reason": "too dear"}),
        (APPROVAL, '{"approved": true, "editedArgs": {"n": 1}}', None),
        (RESULT, "rain", {"result": "rain"}),
        (RESULT, '{"sun": 1}', {"result": {"sun": 1}}),
        (TWO, "yes", {"c1": {"approved": True}, "c2": {"approved": True}}),
        (MIXED, '{"c1": {"approved": false}, "c2": {"result": 1}}', None),
        (BOOLEAN, "n", False),
        (NUMBER, "4.5", 4.5),
        ({"type": "string", "enum": ["red", "green"]}, "green", "green"),
        ({"type": "no type"}, "whatever", "whatever"),
    ],
)
def test_what_is_typed_becomes_what_is_wanted(
    schema: dict[str, Any] | None, typed: str, answer: Any
) -> None:
    """Words, text and JSON; JSON that fits is taken as it is (None here)."""
    expected = json.loads(typed) if answer is None else answer
    assert answer_of(typed, asking(schema)) == expected


@pytest.mark.parametrize(
    ("schema", "typed", "told"),
    [
        (APPROVAL, "perhaps", "answer yes or no"),
        (TWO, "perhaps", "answer yes or no"),
        (APPROVAL, '{"approve": true}', "answer yes or no"),
        (NUMBER, "many", '"number"'),
    ],
)
def test_what_does_not_fit_is_told(schema: dict[str, Any], typed: str, told: str) -> None:
    """With what is wanted."""
    with pytest.raises(NoAnswerError, match=told):
        answer_of(typed, asking(schema))


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (None, "/answer TEXT"),
        (APPROVAL, "/answer yes, or /answer no"),
        (TWO, "/answer yes, or /answer no"),
        (RESULT, "/answer TEXT"),
        (MIXED, "/answer JSON"),
    ],
)
def test_how_to_answer_is_told(schema: dict[str, Any] | None, told: str) -> None:
    """In the words to type."""
    assert how_to_answer(asking(schema)) == told
