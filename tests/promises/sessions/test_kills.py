"""Processes are killed in the middle of sends: what was acknowledged is there, once."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually, passing
from tests.support.senders import PersistentSender, assert_exactly_once
from tests.support.stalled_reader import stalled_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import OwnGateway, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint

# With `everysec` Redis puts a write off for up to 2 s while an fsync is under way, and answers all
# the same (aof.c, flushAppendOnlyFile): on a busy disk a SIGKILL then loses what was acknowledged.
# That SIGKILL loses nothing is a promise of `always` only.
ALWAYS = {"appendfsync": "always"}
SENDERS = 4
MESSAGES = 60


async def opened_senders(
    dial: Dialler, endpoints: Sequence[Endpoint]
) -> tuple[str, list[PersistentSender]]:
    """Return a conversation and its senders, spread over the endpoints."""
    subjects = [f"sender{n}" for n in range(SENDERS)]
    owner = await dial(endpoints[0], "owner")
    conversation = await owner.create(participants=subjects)
    await owner.close()
    senders = [
        PersistentSender(
            dial,
            [*endpoints[n % len(endpoints) :], *endpoints[: n % len(endpoints)]],
            subject=subject,
            conversation=conversation,
        )
        for n, subject in enumerate(subjects)
    ]
    for sender in senders:
        await sender.open()
    return conversation, senders


async def accepted(senders: Sequence[PersistentSender], count: int) -> None:
    """Wait until so many messages are accepted in all."""
    await eventually(
        lambda: sum(len(sender.accepted) for sender in senders) >= count,
        what=f"{count} messages accepted",
        within_s=30,
    )


async def assert_all_is_there(
    dial: Dialler, endpoint: Endpoint, conversation: str, senders: Sequence[PersistentSender]
) -> None:
    """Check the history, and that every sender heard the whole log without gap or repeat."""
    reader = await dial(endpoint, "owner")
    history = await reader.history(conversation, limit=200)
    assert_exactly_once(history, senders)
    last = max(reply["offset"] for sender in senders for reply in sender.accepted.values())
    for sender in senders:
        await sender.follow(last)
        told = [m["message_id"] for m in sender.client.log(conversation).messages]
        assert told == [m["message_id"] for m in history]
        assert all(ready["resumed"] for ready in sender.resumptions)


async def test_gateway_killed_in_the_middle_of_sends(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """SIGKILL twice under load, restarted on its port: clients resume, nothing lost or doubled."""
    gateway = await own_gateway()
    conversation, senders = await opened_senders(dial, [gateway])
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 40)
        await gateway.restart()
        await accepted(senders, 120)
        await gateway.restart()
    await assert_all_is_there(dial, gateway, conversation, senders)
    assert all(len(sender.resumptions) >= 2 for sender in senders)


async def test_one_of_two_replicas_killed_in_the_middle_of_sends(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Clients of the dead replica go on at the other one at once."""
    first, second = await own_gateway(), await own_gateway()
    conversation, senders = await opened_senders(dial, [first, second])
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 60)
        await first.kill()
    await assert_all_is_there(dial, second, conversation, senders)


async def test_redis_killed_in_the_middle_of_sends(
    own_gateway: OwnGateway, own_redis: OwnRedis, dial: Dialler
) -> None:
    """SIGKILL of Redis under load and a restart on its data: acknowledged is there, once."""
    redis = await own_redis(**ALWAYS)
    gateways = [await own_gateway(redis_url=redis.url, redis_timeout_s=1) for _ in range(2)]
    conversation, senders = await opened_senders(dial, gateways)
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 40)
        redis.kill()
        await redis.start()
        await accepted(senders, 120)
        redis.kill()
        await redis.start()
    await assert_all_is_there(dial, gateways[0], conversation, senders)


async def test_redis_hung_in_the_middle_of_sends(
    own_gateway: OwnGateway, own_redis: OwnRedis, dial: Dialler
) -> None:
    """SIGSTOP for longer than anybody waits: what it then does late is not done twice."""
    redis = await own_redis()
    gateways = [await own_gateway(redis_url=redis.url, redis_timeout_s=0.5) for _ in range(2)]
    conversation, senders = await opened_senders(dial, gateways)
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        for count in (40, 100):
            await accepted(senders, count)
            redis.pause()
            try:
                await passing(1.5)
            finally:
                redis.resume()
    await assert_all_is_there(dial, gateways[0], conversation, senders)


async def test_hung_gateway_that_wakes_up_disturbs_nobody(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """SIGSTOP of a replica with requests in its sockets; its clients go on at another; SIGCONT."""
    first, second = await own_gateway(), await own_gateway()
    alice = await dial(first)
    await alice.connect()
    conversation = await alice.create()
    said = await alice.say(conversation, "text of m0", client_message_id="m0")
    await alice.heard(conversation, said["offset"])
    first.signal(signal.SIGSTOP)
    try:
        for n in range(1, 6):
            await alice.start(
                "send_message",
                conversation_id=conversation,
                client_message_id=f"m{n}",
                content=f"text of m{n}",
                agent=None,
            )
        again = await dial(second)
        assert (await again.restore(alice))["resumed"] is True
        for n in range(1, 6):
            last = await again.say(conversation, f"text of m{n}", client_message_id=f"m{n}")
    finally:
        first.signal(signal.SIGCONT)
    assert await alice.closed() == 4001
    history = await again.history(conversation)
    assert [m["content"] for m in history] == [f"text of m{n}" for n in range(6)]
    await again.heard(conversation, last["offset"])
    assert [m["content"] for m in again.log(conversation).messages] == [
        f"text of m{n}" for n in range(6)
    ]


async def test_gateway_and_redis_killed_together(
    own_gateway: OwnGateway, own_redis: OwnRedis, dial: Dialler
) -> None:
    """As after a power cut of the machine, but for what the disk would lose."""
    redis = await own_redis(**ALWAYS)
    gateway = await own_gateway(redis_url=redis.url, redis_timeout_s=1)
    conversation, senders = await opened_senders(dial, [gateway])
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 80)
        redis.kill()
        await gateway.kill()
        await redis.start()
        await gateway.start()
    await assert_all_is_there(dial, gateway, conversation, senders)


@pytest.mark.parametrize("durability", ["memory", "disk"])
async def test_embedded_server_killed_in_the_middle_of_sends(
    own_gateway: OwnGateway, dial: Dialler, durability: str
) -> None:
    """The gateway starts its dead server again by itself; then nothing is missing."""
    gateway = await own_gateway(redis_url=None, redis_timeout_s=1, durability=durability)
    conversation, senders = await opened_senders(dial, [gateway])
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 80)
        gateway.kill_embedded_server()
    await assert_all_is_there(dial, gateway, conversation, senders)


async def test_killed_gateway_with_an_embedded_server_comes_back_with_everything(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """`kill -9` and a restart of the two-command set-up: sessions resume, nothing lost."""
    gateway = await own_gateway(redis_url=None)
    conversation, senders = await opened_senders(dial, [gateway])
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 80)
        await gateway.restart()
    await assert_all_is_there(dial, gateway, conversation, senders)


async def test_sigterm_during_traffic_drains_without_loss(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Clients are told to leave (4101, with a window), go on elsewhere, and nothing is lost."""
    first, second = (
        await own_gateway(drain_window_s=1),
        await own_gateway(drain_window_s=1),
    )
    conversation, senders = await opened_senders(dial, [first, second])
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        await accepted(senders, 60)
        code = await first.terminate()
    assert code == 0
    await assert_all_is_there(dial, second, conversation, senders)
    told = [push for sender in senders[::2] for push in sender.disconnects]
    assert len(told) >= SENDERS // 2
    for push in told:
        assert (push["code"], push["reason"], push["reconnect"]) == (4101, "draining", True)
        assert push["window_ms"] >= 0
        assert push["retry_after_ms"] >= 0


async def test_sigterm_closes_idle_clients_with_4101_and_exits(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """A client that does nothing is told too; new connections are not taken meanwhile."""
    gateway = await own_gateway(drain_window_s=0.5)
    clients = [await dial(gateway, f"idle{n}") for n in range(20)]
    for client in clients:
        await client.connect()
    assert await gateway.terminate() == 0
    for client in clients:
        assert await client.closed() == 4101
        assert client.disconnect["code"] == 4101


async def test_sigterm_never_hangs_on_a_stalled_client(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """A peer that neither reads nor closes cannot keep the process from ending."""
    gateway = await own_gateway(drain_window_s=0.5, drain_timeout_s=2)
    async with stalled_reader(gateway, dial):
        assert await gateway.terminate(within_s=15) == 0


async def test_second_signal_ends_the_drain_at_once(own_gateway: OwnGateway, dial: Dialler) -> None:
    """An operator in a hurry is obeyed."""
    gateway = await own_gateway(drain_window_s=60, drain_timeout_s=120)
    for n in range(5):
        await (await dial(gateway, f"idle{n}")).connect()
    gateway.signal(signal.SIGTERM)
    await eventually(lambda: "drain" in gateway.logs, what="the drain begins")
    gateway.signal(signal.SIGTERM)
    await gateway.exited(within_s=10)


async def test_traffic_goes_on_while_replicas_are_replaced_one_by_one(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """A rolling restart under load: every message once, every log whole."""
    gateways = [await own_gateway(drain_window_s=0.5) for _ in range(2)]
    conversation, senders = await opened_senders(dial, gateways)
    async with asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.send(MESSAGES))
        for number, gateway in enumerate(gateways):
            await accepted(senders, 50 * (number + 1))
            assert await gateway.terminate() == 0
            await gateway.start()
    await assert_all_is_there(dial, gateways[1], conversation, senders)
