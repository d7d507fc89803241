"""The same promises on the oldest Redis we support, behind sentinels, and on a cluster."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.redis_servers import cluster, redis7, sentinels, standalone
from tests.support.senders import PersistentSender, assert_exactly_once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.redis_servers import RedisGroup

needs_redis7 = pytest.mark.skipif(redis7() is None, reason="no redis-server on PATH")
KINDS = [
    pytest.param("redis 7", marks=[pytest.mark.redis7, needs_redis7]),
    "sentinels",
    "cluster",
]


@asynccontextmanager
async def servers(kind: str) -> AsyncIterator[RedisGroup]:
    """Yield servers of a kind; their `url` is what the gateway is given."""
    openers = {
        "redis 7": lambda: standalone(binary=redis7()),
        "sentinels": sentinels,
        "cluster": cluster,
    }
    async with openers[kind]() as opened:
        yield opened


async def a_conversation_with_state(dial: Dialler, gateway: Endpoint) -> tuple[object, str]:
    """Return a connected client and its conversation."""
    alice = await dial(gateway)
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    for n in range(5):
        last = await alice.say(conversation, f"message {n}", client_message_id=f"m{n}")
    await alice.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=0,
        patch=[{"op": "add", "path": "/memory/name", "value": "Ada"}],
    )
    await alice.heard(conversation, last["offset"] + 1)
    return alice, conversation


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(120)
async def test_the_core_holds_on_every_topology(
    in_process: InProcess, dial: Dialler, kind: str
) -> None:
    """Two replicas: send, listen, resume elsewhere, context, duplicates, conflict, takeover."""
    async with servers(kind) as redis:
        first, second = await in_process(redis_url=redis.url), await in_process(redis_url=redis.url)
        alice, conversation = await a_conversation_with_state(dial, first)
        bob = await dial(second, "bob", codec="msgpack")
        await bob.request("join_conversation", conversation_id=conversation)
        said = await bob.say(conversation, "from Bob")
        await alice.heard(conversation, said["offset"])
        await alice.vanish()
        missed = await bob.say(conversation, "while away")

        again = await dial(second)
        ready = await again.restore(alice)
        assert ready["resumed"] is True
        await again.heard(conversation, missed["offset"])
        expected = [*[f"message {n}" for n in range(5)], "from Bob", "while away"]
        assert [m["content"] for m in again.log(conversation).messages] == expected
        assert [m["content"] for m in await again.history(conversation)] == expected
        context = await again.request("get_agent_context", conversation_id=conversation)
        assert (context["memory"], context["version"]) == ({"name": "Ada"}, 1)
        repeat = await again.say(conversation, "message 0", client_message_id="m0")
        assert repeat["duplicate"] is True
        many = [await again.create(title=str(n)) for n in range(30)]  # over many slots
        listed = await bob.request("list_conversations")
        assert len(listed["conversations"]) == 1
        mine = await dial(first)
        listed = await mine.request("list_conversations", limit=100)
        assert {entry["conversation_id"] for entry in listed["conversations"]} == {
            conversation,
            *many,
        }
        thief = await dial(first)
        assert (await thief.resume(alice))["resume_failure"] == "token_reused"
        assert await again.closed() == 4503


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(120)
async def test_who_comes_in_holds_on_every_topology(
    in_process: InProcess, dial: Dialler, kind: str
) -> None:
    """Invitations, who is online, and quotas, of subjects whose keys are in many slots."""
    async with servers(kind) as redis:
        fields = {"redis_url": redis.url, "adding": "invite", "added_per_hour": 20}
        first, second = await in_process(**fields), await in_process(**fields)
        names = [f"u{n}" for n in range(20)]
        guests = [await dial(second, name) for name in names]
        for guest in guests:
            await guest.connect()
        alice = await dial(first)
        where = {"conversation_id": await alice.create(participants=names, title="plans")}
        for guest in guests:
            await guest.until(
                lambda guest=guest: any(push["type"] == "invited" for push in guest.pushes),
                what="the invited are told",
            )
            await guest.request("join_conversation", **where)
        reply = await alice.request("get_conversation", **where)
        assert {one["subject"] for one in reply["participants"] if one["online"]} == {
            "alice",
            *names,
        }
        error = await alice.refusal("add_participant", **where, subject="one more")
        assert error["code"] == "rate_limited"
        code = (await alice.request("create_invite", **where))["invite"]
        late = await dial(second, "late")
        await late.request("join_conversation", invite=code)
        assert (await guests[0].refusal("list_invites", **where))["code"] == "forbidden"
        other = await dial(second, "other")
        assert (await other.refusal("join_conversation", invite=code))["code"] == "gone"


async def opened_senders(
    dial: Dialler, gateways: list[Endpoint]
) -> tuple[str, list[PersistentSender]]:
    """Return a conversation and two senders, one a replica."""
    owner = await dial(gateways[0], "owner")
    conversation = await owner.create(participants=["sender0", "sender1"])
    senders = [
        PersistentSender(
            dial, gateways[n:] + gateways[:n], subject=f"sender{n}", conversation=conversation
        )
        for n in range(2)
    ]
    for sender in senders:
        await sender.open()
    return conversation, senders


@pytest.mark.timeout(120)
async def test_sentinel_failover_in_the_middle_of_sends(
    in_process: InProcess, dial: Dialler
) -> None:
    """The master is killed; what is acknowledged as `replicated` is there, once; all go on."""
    async with sentinels() as group:
        gateways = [
            await in_process(redis_url=group.url, redis_timeout_s=1, durability="replicated")
            for _ in range(2)
        ]
        conversation, senders = await opened_senders(dial, gateways)
        async with asyncio.TaskGroup() as tasks:
            for sender in senders:
                tasks.create_task(sender.send(30))
            await eventually(
                lambda: sum(len(sender.accepted) for sender in senders) >= 20, what="20 accepted"
            )
            master = await group.master()
            master.kill()

            # The old master comes back as the replica that `replicated` waits for.
            async def promoted() -> bool:
                return await group.master() is not master

            await eventually(promoted, what="a new master", within_s=30)
            await master.start()
        reader = await dial(gateways[0], "owner")
        history = await reader.history(conversation)
        assert_exactly_once(history, senders)
        last = max(reply["offset"] for s in senders for reply in s.accepted.values())
        for sender in senders:
            await sender.follow(last)


@pytest.mark.timeout(120)
async def test_cluster_failover_in_the_middle_of_sends(
    in_process: InProcess, dial: Dialler
) -> None:
    """The master of the conversation's slot is killed; its replica takes over, and all go on."""
    async with cluster() as group:
        gateways = [
            await in_process(redis_url=group.url, redis_timeout_s=1, durability="replicated")
            for _ in range(2)
        ]
        conversation, senders = await opened_senders(dial, gateways)
        async with asyncio.TaskGroup() as tasks:
            for sender in senders:
                tasks.create_task(sender.send(30))
            await eventually(
                lambda: sum(len(sender.accepted) for sender in senders) >= 20, what="20 accepted"
            )
            master = await master_of(group, conversation)
            master.kill()

            async def promoted() -> bool:
                return await master_of(group, conversation) is not master

            await eventually(promoted, what="a new master", within_s=30)
            await master.start()
        reader = await dial(gateways[0], "owner")
        history = await reader.history(conversation)
        assert_exactly_once(history, senders)
        last = max(reply["offset"] for s in senders for reply in s.accepted.values())
        for sender in senders:
            await sender.follow(last)


async def master_of(group: object, conversation: str) -> object:
    """Return the cluster node that serves a conversation."""
    async with AsyncExitStack():
        for node in group.nodes:
            if not node.can_answer:
                continue
            for key in await node.call("KEYS", f"*:c:{conversation}"):
                return await group.node_for_key(key)
    raise AssertionError(f"no node holds {conversation}")


async def test_planned_cluster_failover_does_not_make_readers_deaf(
    in_process: InProcess, dial: Dialler
) -> None:
    """CLUSTER FAILOVER moves a slot without an error to subscribers: events still come."""
    async with cluster() as group:
        gateway = await in_process(redis_url=group.url, redis_timeout_s=1)
        alice, bob = await dial(gateway), await dial(gateway, "bob")
        conversation = await alice.create(participants=["bob"])
        await bob.request("join_conversation", conversation_id=conversation)
        said = await alice.say(conversation, "before")
        await bob.heard(conversation, said["offset"])
        old = await master_of(group, conversation)
        for node in group.nodes[3:]:
            if f"master_port:{old.port}" in str(await node.call("INFO", "replication")):
                await node.call("CLUSTER", "FAILOVER")

        async def moved() -> bool:
            return await master_of(group, conversation) is not old

        await eventually(moved, what="the slot has moved", within_s=30)
        sender = PersistentSender(dial, [gateway], subject="alice", conversation=conversation)
        await sender.open()
        await sender.send(5)
        last = max(reply["offset"] for reply in sender.accepted.values())
        await bob.heard(conversation, last, within_s=20)


@pytest.mark.timeout(120)
async def test_epoch_changes_when_a_failover_lost_what_clients_had_seen(
    in_process: InProcess, dial: Dialler
) -> None:
    """A server that comes back without its newest data: readers get `snapshot`, never a mix."""
    async with standalone() as redis:
        gateway = await in_process(redis_url=redis.url, redis_timeout_s=1)
        alice, conversation = await a_conversation_with_state(dial, gateway)
        (log,) = await redis.call("KEYS", f"*:c:{conversation}:log")
        base = log.removesuffix(":log")
        # What a failover to a replica that lagged by three events leaves behind.
        offset = int(await redis.call("HGET", base, "offset"))
        saved = {key: await dump(redis, key) for key in await redis.call("KEYS", f"{base}*")}
        for n in range(3):
            last = await alice.say(conversation, f"lost {n}")
        await alice.heard(conversation, last["offset"])
        for key, values in saved.items():
            await redis.call("COPY", values, key, "REPLACE")
        assert int(await redis.call("HGET", base, "offset")) == offset
        await redis.restart()

        following = await alice.say(conversation, "after the loss")
        assert following["epoch"] != last["epoch"]
        await alice.until(
            lambda: (
                alice.log(conversation).epoch == following["epoch"]
                and (alice.log(conversation).offset or 0) >= following["offset"]
            ),
            what="the new epoch is heard",
        )
        told = [m["content"] for m in alice.log(conversation).messages]
        assert told == [*[f"message {n}" for n in range(5)], "after the loss"]
        assert alice.log(conversation).snapshots


async def dump(redis: object, key: str) -> str:
    """Keep a copy of a key aside; return the copy's name."""
    aside = f"aside:{key}"
    await redis.call("COPY", key, aside)
    return aside
