"""Being added to a conversation by somebody else shows and promises nothing by itself.

With `GATEWAY_ADDING=invite` it is an invitation, which the subject accepts or declines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import Message, WireClient


async def online(client: WireClient, conversation: str) -> dict[str, bool]:
    """Return who is online, as the client is told."""
    reply = await client.request("get_conversation", conversation_id=conversation)
    return {one["subject"]: one["online"] for one in reply["participants"]}


async def lines(client: WireClient) -> list[Message]:
    """Return the client's list of conversations."""
    found: list[Message] = (await client.request("list_conversations"))["conversations"]
    return found


async def presences(client: WireClient, conversation: str) -> list[str]:
    """Return of whom the client was told that they came or went."""
    await client.request("ping")
    return [
        push["subject"]
        for push in client.pushes
        if push["type"] == "presence" and push["conversation_id"] == conversation
    ]


# --- online --------------------------------------------------------------------------------------


async def test_who_adds_somebody_does_not_learn_whether_they_are_online(
    replicas: Replicas, dial: Dialler
) -> None:
    """Neither asked nor told; a change of role is no coming either."""
    spy, victim = await dial(replicas[0], "spy"), await dial(replicas[1], "victim")
    await victim.connect()
    where = {"conversation_id": await spy.create(participants=["victim"])}
    assert await online(spy, where["conversation_id"]) == {"spy": True, "victim": False}
    await spy.request("add_participant", **where, subject="victim", role="observer")
    assert await online(spy, where["conversation_id"]) == {"spy": True, "victim": False}
    await victim.close()
    again = await dial(replicas[1], "victim")
    await again.restore(victim)
    other = await dial(replicas[1], "other")
    await spy.request("add_participant", **where, subject="other")
    await other.request("join_conversation", **where)
    await eventually(
        lambda: presences(spy, where["conversation_id"]), what="the spy hears of the other"
    )
    assert set(await presences(spy, where["conversation_id"])) == {"other"}


@pytest.mark.parametrize("how", ["joins", "sends", "names a cursor"])
async def test_who_comes_by_their_own_doing_is_shown(
    replicas: Replicas, dial: Dialler, how: str
) -> None:
    """And is shown the others from then on, who are hidden from those who were only added."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await alice.create(participants=["bob"])
    assert await online(bob, conversation) == {"alice": False, "bob": True}
    if how == "joins":
        await bob.request("join_conversation", conversation_id=conversation)
    elif how == "sends":
        await bob.say(conversation, "hello")
    else:
        await (await dial(replicas[1], "bob")).connect(
            cursors={conversation: {"epoch": "", "offset": 0}}
        )
    for client in (alice, bob):
        assert await online(client, conversation) == {"alice": True, "bob": True}
    await alice.request(
        "add_participant", conversation_id=conversation, subject="bob", role="owner"
    )
    assert await online(alice, conversation) == {"alice": True, "bob": True}


# --- invitations by name -------------------------------------------------------------------------


async def test_who_is_invited_takes_no_part_until_they_accept(
    in_process: InProcess, dial: Dialler
) -> None:
    """They see who asks, and the title; nothing else of it, and nobody counts them."""
    gateway = await in_process(adding="invite")
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    where = {"conversation_id": await alice.create(title="plans", metadata={"secret": 1})}
    reply = await alice.request("add_participant", **where, subject="bob", role="observer")
    assert [one["subject"] for one in reply["participants"]] == ["alice"]
    (asked,) = reply["invited"]
    assert (asked["subject"], asked["role"], asked["invited_by"]) == ("bob", "observer", "alice")
    (line,) = await lines(bob)
    assert (line["invited"], line["invited_by"], line["role"]) == (True, "alice", "observer")
    assert (line["title"], line["metadata"]) == ("plans", {})
    assert line["position"] == {"epoch": "", "offset": 0}
    said = await alice.say(where["conversation_id"], "not for bob")
    for kind in ("get_conversation", "get_conversation_history", "get_agent_context"):
        assert (await bob.refusal(kind, **where))["code"] == "not_found"
    assert (await bob.refusal("send_message", **where, client_message_id="1", content="x"))[
        "code"
    ] == "not_found"
    joined = await bob.request("join_conversation", **where)
    assert joined["offset"] == said["offset"] + 1  # PARTICIPANT_JOINED, and nothing before it
    (line,) = await lines(bob)
    assert "invited" not in line
    assert line["metadata"] == {"secret": 1}
    reply = await alice.request("get_conversation", **where)
    assert {one["subject"]: one["role"] for one in reply["participants"]} == {
        "alice": "owner",
        "bob": "observer",
    }
    assert "invited" not in reply


async def test_devices_of_the_invited_are_told_on_any_replica(
    in_process: InProcess, dial: Dialler
) -> None:
    """Once, by a push, in either codec; nobody else hears of it, and asking again tells nobody."""
    here, there = await in_process(adding="invite"), await in_process(adding="invite")
    alice, eve = await dial(here), await dial(there, "eve")
    devices = [await dial(here, "bob", codec="msgpack"), await dial(there, "bob")]
    for client in (*devices, eve):
        await client.connect()
    where = {"conversation_id": await alice.create(title="plans", participants=["bob"])}
    expected = {
        "type": "invited",
        **where,
        "title": "plans",
        "role": "member",
        "invited_by": "alice",
    }

    def told(client: WireClient) -> list[Message]:
        return [push for push in client.pushes if push["type"] == "invited"]

    for device in devices:
        await eventually(lambda device=device: told(device), what="the device is told")
    await alice.request("add_participant", **where, subject="bob", role="observer")
    await alice.request("add_participant", **where, subject="eve")
    await eventually(lambda: told(eve), what="the other is told, later")
    assert [told(device) for device in devices] == [[expected], [expected]]


@pytest.mark.parametrize("how", ["declined", "withdrawn", "banned"])
async def test_invitation_ends(in_process: InProcess, dial: Dialler, how: str) -> None:
    """By either side; then the conversation is not there for them, and not on their list."""
    gateway = await in_process(adding="invite")
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    where = {"conversation_id": await alice.create(participants=["bob"])}
    assert len(await lines(bob)) == 1
    if how == "declined":
        await bob.request("leave_conversation", **where)
        assert (await bob.refusal("leave_conversation", **where))["code"] == "not_found"
    else:
        ban = how == "banned"
        await alice.request("remove_participant", **where, subject="bob", ban=ban)
    assert (await bob.refusal("join_conversation", **where))["code"] == "not_found"
    assert await lines(bob) == []
    assert "invited" not in await alice.request("get_conversation", **where)


async def test_only_owners_invite_and_see_who_is_invited(
    in_process: InProcess, dial: Dialler
) -> None:
    """A member does neither; a role is changed without asking again."""
    gateway = await in_process(adding="invite")
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    where = {"conversation_id": await alice.create(participants=["bob", "carol"])}
    await bob.request("join_conversation", **where)
    assert "invited" not in await bob.request("get_conversation", **where)
    error = await bob.refusal("add_participant", **where, subject="dave")
    assert error["code"] == "forbidden"
    assert await lines(await dial(gateway, "dave")) == []
    reply = await alice.request("add_participant", **where, subject="bob", role="observer")
    assert {one["subject"]: one["role"] for one in reply["participants"]}["bob"] == "observer"
    assert [one["subject"] for one in reply["invited"]] == ["carol"]


async def test_invited_count_for_the_size_of_a_conversation(
    in_process: InProcess, dial: Dialler
) -> None:
    """Who was invited finds room when they accept."""
    gateway = await in_process(adding="invite", max_participants=3)
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    where = {"conversation_id": await alice.create(participants=["bob"], visibility="open")}
    await (await dial(gateway, "carol")).request("join_conversation", **where)
    dave = await dial(gateway, "dave")
    assert (await dave.refusal("join_conversation", **where))["code"] == "too_large"
    error = await alice.refusal("add_participant", **where, subject="dave")
    assert error["code"] == "too_large"
    assert await lines(dave) == []
    await bob.request("join_conversation", **where)


async def test_added_directly_while_another_replica_invites(
    in_process: InProcess, dial: Dialler
) -> None:
    """Replicas of either setting share conversations, as while it is being changed."""
    direct, inviting = await in_process(), await in_process(adding="invite")
    alice, bob = await dial(inviting), await dial(direct, "bob")
    where = {"conversation_id": await alice.create(participants=["bob"])}
    assert [line["invited"] for line in await lines(bob)] == [True]
    owner = await dial(direct)
    reply = await owner.request("add_participant", **where, subject="bob")
    assert [one["subject"] for one in reply["participants"]] == ["alice", "bob"]
    assert "invited" not in reply
    assert await bob.history(where["conversation_id"]) == []
