"""One-time tickets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import json, structs

from gateway.errors import ExpiredToken, InvalidToken
from gateway.identity.tokens import Identity
from gateway.protocol.ids import token_hash
from gateway.tasks import together

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store.store import Store

ALICE = Identity(
    subject="alice ä",
    tenant="t",
    scopes=frozenset({"a", "b"}),
    expires_at=9_000_000_000.5,
    token_id="j",
)


async def test_a_ticket_gives_back_the_identity_it_was_issued_for(gateway_store: Store) -> None:
    """All of it."""
    ticket = await gateway_store.tickets.issue(ALICE)
    assert await gateway_store.tickets.redeem(ticket) == ALICE


async def test_a_ticket_is_good_once(gateway_store: Store) -> None:
    """Also when all who hold it come at once."""
    ticket = await gateway_store.tickets.issue(ALICE)
    found = await together(_try(gateway_store, ticket) for _ in range(5))
    assert sorted(found) == [False] * 4 + [True]


async def _try(store: Store, ticket: str) -> bool:
    try:
        await store.tickets.redeem(ticket)
    except InvalidToken:
        return False
    return True


async def test_a_ticket_does_not_outlive_its_token(gateway_store: Store, clock: Clock) -> None:
    """Redis forgets it with the token, and what is still there then is refused as expired."""
    soon = structs.replace(ALICE, expires_at=clock.unix_s() + 5)
    ticket = await gateway_store.tickets.issue(soon)
    key = gateway_store.keys.ticket(token_hash(ticket))
    assert 0 < await gateway_store.redis.execute(key, "PTTL", key) <= 5_000
    gone = structs.replace(ALICE, expires_at=clock.unix_s() - 1)
    await gateway_store.redis.execute(key, "SET", key, json.encode(gone), "PX", 5_000)
    with pytest.raises(ExpiredToken):
        await gateway_store.tickets.redeem(ticket)


@pytest.mark.parametrize("ticket", ["", "unknown", "é" * 5000, "\ud800"])
async def test_what_is_no_ticket_is_refused(gateway_store: Store, ticket: str) -> None:
    """Whatever text it is."""
    with pytest.raises(InvalidToken):
        await gateway_store.tickets.redeem(ticket)


async def test_a_ticket_is_kept_as_a_hash_for_half_a_minute(gateway_store: Store) -> None:
    """Who reads Redis cannot use it."""
    ticket = await gateway_store.tickets.issue(ALICE)
    key = gateway_store.keys.ticket(token_hash(ticket))
    assert ticket not in key
    assert 0 < await gateway_store.redis.execute(key, "PTTL", key) <= 30_000
    assert ticket.encode() not in await gateway_store.redis.execute(key, "GET", key)
