"""Who was removed does not come back by an old invite, nor, if banned, by an open door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient


async def invited(owner: WireClient, conversation: str, **fields: object) -> str:
    """Make an invite; return its code."""
    reply = await owner.request("create_invite", conversation_id=conversation, **fields)
    code: str = reply["invite"]
    return code


async def test_removed_owner_does_not_return_with_an_invite_made_before(
    replicas: Replicas, dial: Dialler
) -> None:
    """Nor does anybody else with it, nor when its maker is an owner again."""
    alice, eve = await dial(replicas[0]), await dial(replicas[1], "eve")
    conversation = await alice.create()
    add = {"conversation_id": conversation, "subject": "eve", "role": "owner"}
    await alice.request("add_participant", **add)
    code = await invited(eve, conversation, uses=9)
    kept = await invited(alice, conversation)
    await alice.request("remove_participant", conversation_id=conversation, subject="eve")
    for who in (eve, await dial(replicas[0], "mallory")):
        assert (await who.refusal("join_conversation", invite=code))["code"] == "not_found"
    await alice.request("add_participant", **add)
    carol = await dial(replicas[0], "carol")
    assert (await carol.refusal("join_conversation", invite=code))["code"] == "not_found"
    assert (await carol.request("join_conversation", invite=kept))["type"] == "joined"


@pytest.mark.parametrize("role", ["member", "observer"])
async def test_owner_who_becomes_less_has_no_invites(
    replicas: Replicas, dial: Dialler, role: str
) -> None:
    """The right to invite is gone, and what was made with it."""
    alice, eve = await dial(replicas[0]), await dial(replicas[1], "eve")
    conversation = await alice.create()
    add = {"conversation_id": conversation, "subject": "eve"}
    await alice.request("add_participant", **add, role="owner")
    code = await invited(eve, conversation)
    await alice.request("add_participant", **add, role=role)
    carol = await dial(replicas[0], "carol")
    assert (await carol.refusal("join_conversation", invite=code))["code"] == "not_found"


async def test_invite_makes_no_owner(replicas: Replicas, dial: Dialler) -> None:
    """Owners are named one by one."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    error = await alice.refusal("create_invite", conversation_id=conversation, role="owner")
    assert error["code"] == "bad_request"
    assert "$.role" in error["message"]


async def test_banned_member_does_not_come_back_until_an_owner_adds_them(
    replicas: Replicas, dial: Dialler
) -> None:
    """Neither through the open door nor with an invite; the conversation is not there for them."""
    alice, eve = await dial(replicas[0]), await dial(replicas[1], "eve")
    conversation = await alice.create(visibility="open")
    where = {"conversation_id": conversation}
    code = await invited(alice, conversation, uses=9)
    await eve.request("join_conversation", **where)
    await alice.request("remove_participant", **where, subject="eve")
    eve = await dial(replicas[0], "eve")
    await eve.request("join_conversation", **where)  # removal alone leaves the door open
    await alice.request("remove_participant", **where, subject="eve", ban=True)
    for again in ({}, {"invite": code}):
        real = await eve.refusal("join_conversation", **where, **again)
        assert real["code"] == "not_found"
    await alice.request("remove_participant", **where, subject="eve")  # lifts no ban
    assert (await eve.refusal("join_conversation", **where))["code"] == "not_found"
    await alice.request("add_participant", **where, subject="eve")
    await alice.request("remove_participant", **where, subject="eve")
    eve = await dial(replicas[1], "eve")
    assert (await eve.request("join_conversation", **where))["type"] == "joined"


async def test_who_takes_no_part_can_be_banned(replicas: Replicas, dial: Dialler) -> None:
    """Who has left before, for one; members cannot ban, and nobody bans themselves."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(visibility="open", participants=["bob"])
    where = {"conversation_id": conversation}
    ban = where | {"subject": "eve", "ban": True}
    assert (await bob.refusal("remove_participant", **ban))["code"] == "forbidden"
    error = await alice.refusal("remove_participant", **where, subject="alice", ban=True)
    assert (error["code"], error["message"][:5]) == ("bad_request", "$.ban")
    for _ in range(2):
        await alice.request("remove_participant", **ban)
    eve = await dial(replicas[1], "eve")
    assert (await eve.refusal("join_conversation", **where))["code"] == "not_found"


@pytest.mark.parametrize("code", ["a}:c:x{.s", "{s00}:t:c:c_1.s", "c_1", ".s", "\x00.s", "ü.s"])
async def test_invite_that_names_no_conversation_is_no_invite(
    replicas: Replicas, dial: Dialler, code: str
) -> None:
    """What it names is checked before it becomes a part of a key."""
    alice = await dial(replicas[0])
    error = await alice.refusal("join_conversation", invite=code)
    assert (error["code"], error["message"]) == ("not_found", "there is no such invite")


async def test_invites_are_listed_without_their_codes_and_revoked(
    replicas: Replicas, dial: Dialler
) -> None:
    """By any owner; what was revoked lets nobody in, and is not found again."""
    alice, bob, eve = [await dial(replicas[0], name) for name in ("alice", "bob", "eve")]
    where = {"conversation_id": await alice.create(participants=["bob"])}
    code = await invited(alice, where["conversation_id"], uses=2, role="observer")
    (kept,) = (await alice.request("list_invites", **where))["invites"]
    assert (kept["role"], kept["uses_left"], kept["created_by"]) == ("observer", 2, "alice")
    assert kept["created_at"] < kept["expires_at"]
    assert code not in str(kept)
    one = where | {"invite_id": kept["invite_id"]}
    for kind, fields in (("list_invites", where), ("revoke_invite", one)):
        assert (await bob.refusal(kind, **fields))["code"] == "forbidden"
        assert (await eve.refusal(kind, **fields))["code"] == "not_found"
    await alice.request("add_participant", **where, subject="bob", role="owner")
    reply = await bob.request("revoke_invite", **one)
    assert (reply["type"], reply["invite_id"]) == ("invite_revoked", kept["invite_id"])
    assert (await bob.request("list_invites", **where))["invites"] == []
    assert (await bob.refusal("revoke_invite", **one))["code"] == "not_found"
    assert (await eve.refusal("join_conversation", invite=code))["code"] == "not_found"


async def test_invite_that_has_ended_is_gone_for_a_day(
    in_process: InProcess, dial: Dialler
) -> None:
    """Used up or expired; who never had it learns nothing, nor who is banned."""
    gateway = await in_process()
    alice, bob, eve = [await dial(gateway, name) for name in ("alice", "bob", "eve")]
    where = {"conversation_id": await alice.create()}
    used, late = [await invited(alice, where["conversation_id"], ttl_s=60) for _ in range(2)]
    await bob.request("join_conversation", invite=used)
    gateway.clock.advance(30)
    assert (await eve.refusal("join_conversation", invite=used))["code"] == "gone"
    gateway.clock.advance(40)
    for code in (used, late):
        error = await eve.refusal("join_conversation", invite=code)
        assert (error["code"], error["retryable"]) == ("gone", False)
    await invited(alice, where["conversation_id"])  # making one does not forget the others
    assert (await eve.refusal("join_conversation", invite=late))["code"] == "gone"
    other = await eve.refusal("join_conversation", invite=f"{where['conversation_id']}.other")
    assert other["code"] == "not_found"
    await alice.request("remove_participant", **where, subject="eve", ban=True)
    assert (await eve.refusal("join_conversation", invite=late))["code"] == "not_found"
