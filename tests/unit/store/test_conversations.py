"""Conversations in Redis: created once, described to their participants, joined, left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.errors import Conflict, Forbidden, Gone, NotFound
from gateway.identity.caller import Caller
from gateway.protocol.messages import CreateConversation, Position
from gateway.store.invites import invite_conversation
from tests.support.stores import make, say

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.store.store import Store


async def types(store: Store, caller: Caller, name: str) -> list[str]:
    """Return the types of a conversation's events."""
    epoch = (await store.log.read(caller, name, None)).position.epoch
    cut = await store.log.read(caller, name, Position(epoch, 0))
    return [event.event.value()["type"] for event in cut.events]


async def roles(store: Store, caller: Caller, name: str) -> dict[str, str]:
    """Return who takes part, as what."""
    found = await store.conversations.describe(caller, name)
    return {member.subject: member.role for member in found.members}


async def test_a_conversation_is_what_it_was_created_as(
    gateway_store: Store, alice: Caller, clock: Clock
) -> None:
    """With its creator as the owner, and the others once."""
    at = await make(
        gateway_store,
        alice,
        "c_1",
        title='a "title" ä',
        participants=["bob", "alice", "ca rol:1"],
        visibility="open",
        metadata={"k": [1, None, {"ä": 1.5}]},
    )
    found = await gateway_store.conversations.describe(alice, "c_1")
    assert found.title == 'a "title" ä'
    assert (found.visibility, found.role) == ("open", "owner")
    assert found.metadata.value() == {"k": [1, None, {"ä": 1.5}]}
    assert abs(found.created_at - clock.unix_s()) < 5
    assert found.position == at
    assert await roles(gateway_store, alice, "c_1") == {
        "alice": "owner",
        "bob": "member",
        "ca rol:1": "member",
    }
    assert await types(gateway_store, alice, "c_1") == [
        "CONVERSATION_CREATED",
        *["PARTICIPANT_JOINED"] * 3,
    ]


async def test_creating_it_again_is_the_same_or_a_conflict(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """The same by the same is a retry; the order of keys in its metadata does not matter."""
    first = await make(gateway_store, alice, "c_1", metadata={"a": 1, "b": 2})
    again = await make(gateway_store, alice, "c_1", metadata={"b": 2, "a": 1})
    assert first == again
    with pytest.raises(Conflict):
        await make(gateway_store, alice, "c_1", title="other", metadata={"a": 1, "b": 2})
    with pytest.raises(Forbidden):
        await make(gateway_store, bob, "c_1", metadata={"a": 1, "b": 2})
    assert len(await types(gateway_store, alice, "c_1")) == 2


@pytest.mark.parametrize("who", ["a stranger", "another tenant's alice"])
async def test_who_takes_no_part_finds_nothing(
    gateway_store: Store, alice: Caller, bob: Caller, who: str
) -> None:
    """Not by any call; as if it were not there."""
    await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1")
    caller = bob if who == "a stranger" else Caller(f"{alice.tenant}x", "alice")
    store = gateway_store
    for call in (
        lambda: store.conversations.describe(caller, "c_1"),
        lambda: store.conversations.join(caller, "c_1", None),
        lambda: store.conversations.join(caller, "c_1", "c_1.guess"),
        lambda: store.conversations.set_member(caller, "c_1", "bob", "owner"),
        lambda: store.conversations.set_member(caller, "c_1", caller.subject, None),
        lambda: store.conversations.whisper(caller, "c_1", b"w:x:{}"),
        lambda: store.invites.create(caller, "c_1", "c_1.x", uses=1, ttl_s=9, role="member"),
        lambda: say(store, caller, "c_1", "2"),
        lambda: store.messages.page(caller, "c_1", limit=5),
        lambda: store.messages.edit(caller, "c_1", "m_1", "x", now=1.0),
        lambda: store.messages.delete(caller, "c_1", "m_1"),
        lambda: store.messages.search(caller, "c_1", "hello", limit=5),
        lambda: store.log.read(caller, "c_1", None),
        lambda: store.contexts.get(caller, "c_1"),
        lambda: store.contexts.versions(caller, "c_1", limit=5),
        lambda: store.contexts.document_at(caller, "c_1", 0),
    ):
        with pytest.raises(NotFound):
            await call()
    assert await types(store, alice, "c_1") == [
        "CONVERSATION_CREATED",
        "PARTICIPANT_JOINED",
        "MESSAGE_CREATED",
    ]


async def test_an_open_conversation_is_joined_once(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """Joining again is harmless; it gives no second event."""
    await make(gateway_store, alice, "c_1", visibility="open")
    first = await gateway_store.conversations.join(bob, "c_1", None)
    assert await gateway_store.conversations.join(bob, "c_1", None) == first
    assert await roles(gateway_store, bob, "c_1") == {"alice": "owner", "bob": "member"}


async def test_an_invite_lets_in_as_many_as_it_says(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """In the role it says; a retry by who is in does not use it up."""
    await make(gateway_store, alice, "c_1")
    await gateway_store.invites.create(alice, "c_1", "c_1.code", uses=1, ttl_s=60, role="observer")
    for _ in range(2):
        await gateway_store.conversations.join(bob, "c_1", "c_1.code")
    assert (await roles(gateway_store, alice, "c_1"))["bob"] == "observer"
    with pytest.raises(Gone):
        await gateway_store.conversations.join(Caller(alice.tenant, "eve"), "c_1", "c_1.code")
    with pytest.raises(NotFound):
        await gateway_store.conversations.join(Caller(alice.tenant, "eve"), "c_1", "c_1.other")
    with pytest.raises(Forbidden):
        await gateway_store.invites.create(bob, "c_1", "c_1.x", uses=1, ttl_s=60, role="member")


async def test_invites_are_listed_and_revoked(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """By owners, whoever made them; those that are used up are not listed."""
    await make(gateway_store, alice, "c_1", participants=["bob"])
    invites = gateway_store.invites
    for n in range(3):
        await invites.create(alice, "c_1", f"c_1.code{n}", uses=n + 1, ttl_s=60, role="observer")
    await gateway_store.conversations.join(Caller(alice.tenant, "eve"), "c_1", "c_1.code0")
    found = await invites.list(alice, "c_1")
    assert sorted(one.uses_left for one in found) == [2, 3]
    assert {(one.role, one.created_by) for one in found} == {("observer", "alice")}
    assert all(59 < one.expires_at - one.created_at < 61 for one in found)
    assert await invites.revoke(alice, "c_1", found[0].invite_id)
    assert not await invites.revoke(alice, "c_1", found[0].invite_id)
    assert await invites.list(alice, "c_1") == found[1:]
    for call in (invites.list(bob, "c_1"), invites.revoke(bob, "c_1", found[1].invite_id)):
        with pytest.raises(Forbidden):
            await call


async def test_invites_of_a_conversation_are_bounded(gateway_store: Store, alice: Caller) -> None:
    """One that is revoked makes room; so does one that is over."""
    await make(gateway_store, alice, "c_1")
    invites = gateway_store.invites

    async def create(n: int) -> None:
        await invites.create(alice, "c_1", f"c_1.{n}", uses=1, ttl_s=60, role="member")

    for n in range(100):
        await create(n)
    with pytest.raises(Conflict):
        await create(100)
    await create(99)  # a repeat
    await gateway_store.conversations.join(Caller(alice.tenant, "eve"), "c_1", "c_1.0")
    await create(100)


def test_an_invite_names_its_conversation() -> None:
    """Anything else is no invite, and what could not be an id never becomes a key."""
    assert invite_conversation("c_1.secret") == "c_1"
    for code in (
        "",
        "secret",
        "c_1.",
        ".secret",
        "c 1.secret",
        "a}:c:x{.s",
        "ü.s",
        f"{'c' * 65}.s",
    ):
        with pytest.raises(NotFound):
            invite_conversation(code)


async def test_an_invite_that_has_ended_is_remembered_for_a_day(
    gateway_store: Store, alice: Caller, bob: Caller, clock: Clock
) -> None:
    """From when it was used up, or expired; then it is like one that never was."""
    await make(gateway_store, alice, "c_1")
    store = gateway_store
    for code, ttl_s in (("c_1.used", 86_400 * 3), ("c_1.late", 3_600), ("c_1.good", 86_400 * 9)):
        await store.invites.create(alice, "c_1", code, uses=1, ttl_s=ttl_s, role="member")
    await store.conversations.join(bob, "c_1", "c_1.used")
    eve = Caller(alice.tenant, "eve")
    clock.advance(86_400)
    for code in ("c_1.used", "c_1.late"):
        with pytest.raises(Gone):
            await store.conversations.join(eve, "c_1", code)
    clock.advance(3_700)
    await store.invites.create(alice, "c_1", "c_1.next", uses=1, ttl_s=60, role="member")
    for code in ("c_1.used", "c_1.late"):
        with pytest.raises(NotFound):
            await store.conversations.join(eve, "c_1", code)
    await store.conversations.join(eve, "c_1", "c_1.good")


async def test_of_invites_that_have_ended_a_hundred_are_remembered(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """However many are made and used up; the oldest are forgotten."""
    await make(gateway_store, alice, "c_1")
    store, codes = gateway_store, [f"c_1.{n}" for n in range(130)]
    for code in [*codes, "c_1.last"]:
        await store.invites.create(alice, "c_1", code, uses=1, ttl_s=60, role="member")
        if code in codes:
            await store.conversations.join(bob, "c_1", code)
            await store.conversations.set_member(bob, "c_1", "bob", None)
    forgotten = 0
    for code in codes:
        try:
            await store.conversations.join(bob, "c_1", code)
        except NotFound:
            forgotten += 1
        except Gone:
            continue
    assert forgotten == 30


async def test_owners_decide_who_takes_part(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """Members do not, and anybody may go."""
    await make(gateway_store, alice, "c_1", participants=["bob", "carol"])
    for subject, role in (("dave", "member"), ("bob", "owner"), ("carol", None)):
        with pytest.raises(Forbidden):
            await gateway_store.conversations.set_member(bob, "c_1", subject, role)
    await gateway_store.conversations.set_member(alice, "c_1", "carol", "observer")
    await gateway_store.conversations.set_member(alice, "c_1", "carol", "observer")
    await gateway_store.conversations.set_member(bob, "c_1", "bob", None)
    assert await roles(gateway_store, alice, "c_1") == {"alice": "owner", "carol": "observer"}
    events = await types(gateway_store, alice, "c_1")
    assert events[4:] == ["PARTICIPANT_JOINED", "PARTICIPANT_LEFT"]


async def test_the_last_owner_stays_while_others_do(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """Nor may they make themselves less; alone they may go."""
    await make(gateway_store, alice, "c_1", participants=["bob"])
    for role in (None, "member"):
        with pytest.raises(Conflict):
            await gateway_store.conversations.set_member(alice, "c_1", "alice", role)
    await gateway_store.conversations.set_member(alice, "c_1", "bob", "owner")
    await gateway_store.conversations.set_member(alice, "c_1", "alice", None)
    await gateway_store.conversations.set_member(bob, "c_1", "bob", None)
    with pytest.raises(NotFound):
        await gateway_store.conversations.describe(bob, "c_1")


async def test_a_conversation_that_all_have_left_is_not_made_anew(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """Its id stays taken, also for who made it."""
    await make(gateway_store, alice, "c_1")
    await gateway_store.conversations.set_member(alice, "c_1", "alice", None)
    for caller, refused in ((alice, Conflict), (bob, Forbidden)):
        with pytest.raises(refused):
            await gateway_store.conversations.create(caller, "c_1", CreateConversation())


async def test_tenants_may_use_the_same_ids(gateway_store: Store, alice: Caller) -> None:
    """They never meet."""
    other = Caller(f"{alice.tenant}x", "alice")
    await make(gateway_store, alice, "c_1", title="mine")
    await make(gateway_store, other, "c_1", title="theirs")
    assert (await gateway_store.conversations.describe(alice, "c_1")).title == "mine"
    assert (await gateway_store.conversations.describe(other, "c_1")).title == "theirs"
