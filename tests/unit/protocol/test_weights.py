"""What requests cost before anything is known of their answers."""

from __future__ import annotations

import pytest

from gateway.errors import BadRequest
from gateway.protocol.decoder import Rejected
from gateway.protocol.messages import (
    Connect,
    CreateConversation,
    Ping,
    Position,
    Request,
    SearchMessages,
)
from gateway.protocol.rate_limit import TokenBucket
from gateway.protocol.weights import WEIGHTS, weight_of


def test_what_is_not_in_the_table_costs_one() -> None:
    """Also what could not be read."""
    assert weight_of(Ping()) == 1
    assert weight_of(Rejected(BadRequest("x"), None)) == 1


def test_some_cost_by_what_they_name() -> None:
    """A participant, and a cursor, is half a request."""
    assert weight_of(CreateConversation()) == 1
    assert weight_of(CreateConversation(participants=["a", "b", "c"])) == 2.5
    cursors = {f"c_{n}": Position("x", 1) for n in range(10)}
    assert weight_of(Connect(cursors=cursors)) == 6
    assert weight_of(SearchMessages(conversation_id="c", query="x")) == 20


@pytest.mark.parametrize("kind", WEIGHTS, ids=lambda kind: kind.__name__)
def test_everything_in_the_table_is_a_request(kind: type) -> None:
    """And the field that it counts by is one of its fields."""
    assert issubclass(kind, Request)
    weight = WEIGHTS[kind]
    assert weight.base >= 1
    assert not weight.of or weight.of in kind.__struct_fields__


def test_what_is_owed_is_paid_off_at_the_rate() -> None:
    """No more than a burst is owed, so that nobody waits for longer than twice that."""
    bucket = TokenBucket.full(10.0, burst=10, now=0.0)
    bucket.owe(13)
    assert bucket.take(0.0) == 400
    assert bucket.take(0.4) == 0
    bucket.owe(1_000)
    assert bucket.take(0.4) == 1_100
