"""What is said of a message that is wrong, or nearly."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec
import pytest

from gateway.protocol.diagnosis import may_lack_fields, misspelling, problem
from gateway.protocol.messages import GetConversation, Ping, Request, SendMessage


class Colour(enum.Enum):
    """Values of an operator's own."""

    RED = "red"
    BLUE = "blue"


class Shape(msgspec.Struct):
    """A part of a message of an operator's own."""

    colour: Colour = Colour.RED
    kind: Literal["round", "square"] | None = None


class Draw(Request, tag="draw", frozen=True, kw_only=True):
    """A message of an operator's own."""

    shapes: dict[str, list[Shape]] = msgspec.field(default_factory=dict)
    size: Literal[1, 2] = 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"size":3}', "$.size: must be one of 1, 2"),
        (
            '{"shapes":{"a":[{},{"colour":"pink"}]}}',
            "$.shapes[...][1].colour: must be one of red, blue",
        ),
        (
            '{"shapes":{"a":[{"kind":"flat"}]}}',
            "$.shapes[...][0].kind: must be one of round, square",
        ),
        ('{"size":"1"}', "$.size: Expected `int`, got `str`"),
    ],
)
def test_allowed_values_are_listed_wherever_they_are(body: str, expected: str) -> None:
    """In the messages of operators too, at any depth."""
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(f'{{"type":"draw",{body[1:]}', type=Draw)
    assert problem(raised.value, Draw) == expected


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("conversation", "conversation_id"),
        ("conversationId", "conversation_id"),
        ("conversation-id", "conversation_id"),
        ("agentId", "agent"),
        ("ifRunning", "if_running"),
        ("room", None),
        ("x" * 33, None),
        ("", None),
    ],
)
def test_name_that_is_nearly_right_is_found(given: str, meant: str | None) -> None:
    """Spelt as in another language, in part, with another word at its end; not any name."""
    found = misspelling(SendMessage, ["type", "client_message_id", "content", given])
    assert (found and found.meant) == meant


def test_field_that_came_is_not_meant_by_another() -> None:
    """`conversation` beside `conversation_id` is something else."""
    assert misspelling(GetConversation, ["type", "conversation_id", "conversation"]) is None


def test_messages_without_optional_fields_are_known() -> None:
    """Nobody looks at them twice."""
    assert not may_lack_fields(Ping)
    assert not may_lack_fields(GetConversation)
    assert may_lack_fields(SendMessage)
