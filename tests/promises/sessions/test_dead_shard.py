"""A server of a cluster hangs: requests to its conversations hold up no others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from gateway.store.keys import Keys
from tests.support.calm import in_calm
from tests.support.eventually import eventually
from tests.support.redis_servers import cluster
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode
    from tests.support.redis_servers import ClusterGroup
    from tests.support.wire import WireClient

TIMEOUT_S, RECONNECT_S = 1.0, 2.0
PATIENCE_S = 30.0
pytestmark = pytest.mark.timeout(120)


@dataclass
class Scene:
    """Two clients of a gateway, in conversations of which some are on a server that will hang."""

    alice: WireClient
    bob: WireClient
    subject: str  # alice's
    lost: list[str]
    healthy: list[str]
    _dead: list[RedisNode]

    def strike(self) -> None:
        """Stop the server and its replica."""
        for node in self._dead:
            node.pause()

    def mend(self) -> None:
        """Let them go on."""
        for node in self._dead:
            node.resume()


@asynccontextmanager
async def scene(in_process: InProcess, dial: Dialler) -> AsyncIterator[Scene]:
    """Yield it, nothing stopped yet.

    The server that will hang has nothing but conversations: no session of a client, and the gateway
    does not listen there (a replica that does is deaf until it notices, some seconds later).
    """
    options = {"cluster-require-full-coverage": "no"}  # what is left goes on
    async with cluster(options=options) as group:
        gateway = await in_process(
            redis_url=group.url, redis_timeout_s=TIMEOUT_S, redis_reconnect_s=RECONNECT_S
        )
        dead = await eventually(partial(unheard, group), what="a server nobody listens at")
        subjects = await subjects_besides(group, dead, dial.tenant)
        alice, bob = [await dial(gateway, subject) for subject in subjects]
        await alice.connect()
        await bob.connect()
        lost: list[str] = []
        healthy: list[str] = []
        while min(len(lost), len(healthy)) < 10:
            conversation = await alice.create(participants=[subjects[1]])
            key = Keys().conversation(dial.tenant, conversation).base
            where = lost if await group.node_for_key(key) is dead else healthy
            where.append(conversation)
            await bob.request("join_conversation", conversation_id=conversation)
        yield Scene(alice, bob, subjects[0], lost, healthy, [dead, await replica_of(group, dead)])


async def unheard(group: ClusterGroup) -> RedisNode | None:
    """Return a master that has no subscriber, once both of the gateway's have subscribed."""
    subscribers = [
        str(await node.call("CLIENT", "LIST", "TYPE", "pubsub")).count("id=")
        for node in group.nodes[:3]
    ]
    return group.nodes[subscribers.index(0)] if sum(subscribers) == 2 else None


async def subjects_besides(group: ClusterGroup, node: RedisNode, tenant: str) -> list[str]:
    """Return two subjects whose sessions are not at a server."""
    found = []
    for number in range(100):
        key = Keys().subject(tenant, f"person{number}").online
        if await group.node_for_key(key) is not node:
            found.append(f"person{number}")
    return found[:2]


async def replica_of(group: ClusterGroup, master: RedisNode) -> RedisNode:
    """Return the replica of a master."""
    port = f"master_port:{master.port}"
    for node in group.nodes[3:]:
        if port in str(await node.call("INFO", "replication")):
            return node
    raise AssertionError(port)


async def start_to_say(client: WireClient, conversation: str, content: str) -> int | str:
    """Send a message; return the request's id."""
    return await client.start(
        "send_message",
        conversation_id=conversation,
        content=content,
        client_message_id=content.replace(" ", "-"),
        agent=None,
    )


async def outcome(client: WireClient, request_id: int | str) -> str:
    """Wait for a reply; return its type, or the code of the error that it is."""
    try:
        return (await client.reply_to(request_id, within_s=PATIENCE_S))["type"]
    except RefusedRequest as refused:
        return refused.code


def heard(client: WireClient, conversation: str) -> list[object]:
    """Return what was said in a conversation."""
    return [message["content"] for message in client.log(conversation).messages]


def are_waiting(client: WireClient, *request_ids: int | str) -> bool:
    """Whether requests have no answer yet."""
    return not any(client._waiting[request_id].done() for request_id in request_ids)


AWAY = {"unavailable", "timeout"}


async def test_what_is_said_behind_a_request_to_a_dead_shard_is_heard_at_once(
    in_process: InProcess, dial: Dialler
) -> None:
    """While the dead one waits; then both are answered, in order."""
    async with scene(in_process, dial) as on:
        on.strike()
        dead = await start_to_say(on.alice, on.lost[0], "to the dead")
        behind = await start_to_say(on.alice, on.healthy[0], "to the living")
        await on.bob.until(
            lambda: heard(on.bob, on.healthy[0]) == ["to the living"], what="it is heard"
        )
        assert are_waiting(on.alice, dead, behind)
        assert await outcome(on.alice, dead) in AWAY
        assert await outcome(on.alice, behind) == "message_accepted"


@in_calm
async def test_requests_to_a_dead_shard_wait_together(in_process: InProcess, dial: Dialler) -> None:
    """Ten, to one conversation and to several: the one behind them is carried out meanwhile."""
    async with scene(in_process, dial) as on:
        on.strike()
        began = asyncio.get_running_loop().time()
        dead = [
            await on.alice.start("get_conversation_history", conversation_id=on.lost[n % 4])
            for n in range(10)
        ]
        behind = await start_to_say(on.alice, on.healthy[0], "to the living")
        await on.bob.until(lambda: heard(on.bob, on.healthy[0]), what="it is heard")
        assert are_waiting(on.alice, *dead, behind)
        assert {await outcome(on.alice, one) for one in dead} <= AWAY
        assert await outcome(on.alice, behind) == "message_accepted"
        assert asyncio.get_running_loop().time() - began < 2.5 * (RECONNECT_S + TIMEOUT_S)


async def test_a_shard_that_comes_back_is_used_again(in_process: InProcess, dial: Dialler) -> None:
    """A request that waits then succeeds, or the next one does; each is carried out once."""
    async with scene(in_process, dial) as on:
        on.strike()
        dead = [await start_to_say(on.alice, on.lost[n % 2], f"said {n}") for n in range(4)]
        behind = await start_to_say(on.alice, on.healthy[0], "to the living")
        await on.bob.until(lambda: heard(on.bob, on.healthy[0]), what="it is heard")
        on.mend()
        for n, request in enumerate(dead):
            if await outcome(on.alice, request) != "message_accepted":
                await eventually(partial(is_said, on, n), what=f"said {n}", within_s=30)
        assert await outcome(on.alice, behind) == "message_accepted"
        for conversation, said in zip(
            on.lost[:2], (["said 0", "said 2"], ["said 1", "said 3"]), strict=True
        ):
            history = await on.alice.history(conversation)
            assert sorted(m["content"] for m in history) == said


async def is_said(on: Scene, number: int) -> bool:
    """Say something once more; return whether it is accepted."""
    request = await start_to_say(on.alice, on.lost[number % 2], f"said {number}")
    return await outcome(on.alice, request) == "message_accepted"


async def test_nothing_is_left_at_work_for_a_client_that_has_gone(
    in_process: InProcess, dial: Dialler
) -> None:
    """What it had asked for is carried out, or fails; then its connection is let go of."""
    async with scene(in_process, dial) as on:
        on.strike()
        for number in range(3):
            await start_to_say(on.alice, on.lost[number], f"to the dead {number}")
        await start_to_say(on.alice, on.healthy[0], "to the living")
        await on.bob.until(lambda: heard(on.bob, on.healthy[0]), what="it is heard")
        assert "turn" in at_work()
        await on.alice.vanish()
        await eventually(
            lambda: "turn" not in at_work(), what="nothing is at work", within_s=PATIENCE_S
        )


def at_work() -> set[str]:
    """Return the names of the tasks there are, those of the gateway among them."""
    return {task.get_name() for task in asyncio.all_tasks()}
