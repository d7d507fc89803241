"""`gateway serve --workers N`: replicas on one port, kept, replaced and stopped together."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.eventually import eventually
from tests.support.gateways import ROOT
from tests.support.senders import PersistentSender, assert_exactly_once
from tests.support.supervised import SharedSocketGateway, SupervisedGateway, refused
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode

pytestmark = pytest.mark.timeout(120)  # a replica is a Python to start, on a busy machine slowly
LONG_S = 60.0  # a limit that no test waits for
SENDERS = 4
EXAMPLE = ROOT / "docs" / "examples" / "greet.py"  # handlers of an operator's own


@pytest.fixture
async def gateways(redis_server: RedisNode, tmp_path: Path) -> AsyncIterator[Any]:
    """Make gateways of two replicas, on the shared Redis unless told otherwise."""
    made: list[SupervisedGateway] = []

    def make(kind: type[SupervisedGateway] = SupervisedGateway, **settings: Any):
        chosen = {"redis_url": redis_server.url, "workers": 2} | settings
        made.append(kind(tmp_path / f"gateway{len(made)}", **chosen))
        return made[-1]

    yield make
    for gateway in made:
        await gateway.dispose()


async def conversation_of(gateway: SupervisedGateway, dial: Dialler):
    """Return a conversation and those who will send to it."""
    subjects = [f"sender{n}" for n in range(SENDERS)]
    owner = await dial(gateway, "owner")
    conversation = await owner.create(participants=subjects)
    await owner.close()
    senders = [
        PersistentSender(dial, [gateway], subject=subject, conversation=conversation)
        for subject in subjects
    ]
    for sender in senders:
        await sender.open()
    return conversation, senders


# --- serving ---


@pytest.mark.parametrize("kind", [SupervisedGateway, SharedSocketGateway])
async def test_clients_are_spread_over_the_replicas_and_talk_across(gateways, dial, kind):
    """Each replica gets some, and what one client says reaches the other."""
    gateway = gateways(kind)
    await gateway.start()
    one, other = (await gateway.client_at_each(dial)).values()
    conversation = await one.create(participants=[other.hello["subject"]])
    await other.request("join_conversation", conversation_id=conversation)
    await other.live(conversation)
    await one.say(conversation, "to the other process")
    await eventually(
        lambda: (
            [m["content"] for m in other.log(conversation).messages] == ["to the other process"]
        ),
        what="the message came across",
    )
    assert gateway.logs.count("listening on") == 1
    assert await gateway.terminate() == 0


async def test_the_supervisor_listens_to_nobody_and_the_replicas_only_to_the_port(gateways):
    """Nothing is inherited that a replica should not have, on its command line no secret."""
    gateway = gateways()
    await gateway.start()
    assert not psutil.Process(gateway.pid).net_connections("tcp")
    for replica in gateway.replicas().values():
        listening = [
            each.laddr.port
            for each in replica.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening == [gateway.port]
        assert not any(SECRET in word for word in replica.cmdline())


async def test_dev_makes_one_secret_and_prints_one_token(gateways, dial):
    """The token is good at every replica, and all use the embedded server of the supervisor."""
    gateway = gateways(redis_url=None, jwt_secret="", dev=True)
    await gateway.start()
    await eventually(lambda: "--sub bob" in gateway.logs, what="all is printed")
    words = ["listening on http", "url: ws://", "token=", "embedded_server_started"]
    assert [gateway.logs.count(word) for word in words] == [1, 1, 1, 1]
    url = next(line for line in gateway.logs.splitlines() if line.startswith("url: "))[5:]
    met: set[int | None] = set()
    while len(met) < 2:
        client = await dial.open(url)
        await client.connect()
        met.add(await eventually(lambda c=client: gateway.replica_of(c), what="whose it is"))
    assert await gateway.terminate() == 0
    assert gateway.logs.count("embedded_server_stopped") == 1
    assert "embedded_server_lost" not in gateway.logs


# --- losing replicas ---


async def test_clients_of_a_killed_replica_resume_at_another_with_nothing_lost(gateways, dial):
    """SIGKILL in the middle of sends, twice; each time the supervisor starts a new one."""
    gateway = gateways()
    await gateway.start()
    conversation, senders = await conversation_of(gateway, dial)
    async with asyncio.TaskGroup() as sending:
        for sender in senders:
            sending.create_task(sender.send(40), name="sender")
        for fraction in (1, 2):
            done = fraction * 50
            await eventually(
                lambda done=done: sum(len(s.accepted) for s in senders) >= done,
                what=f"{done} accepted",
                within_s=30,
            )
            victim = gateway.replica_of(senders[0].client) or min(gateway.replicas())
            psutil.Process(victim).kill()
            await gateway.replaced({victim}, count=2)
    reader = await dial(gateway, "owner")
    assert_exactly_once(await reader.history(conversation, limit=200), senders)
    assert any(sender.resumptions for sender in senders)
    assert all(ready["resumed"] for sender in senders for ready in sender.resumptions)
    assert gateway.logs.count("replica_lost") == 2
    assert gateway.logs.count("listening on") == 1


async def test_all_replicas_may_be_killed_at_once(gateways, dial):
    """The embedded server outlives them; the new ones find everything there."""
    gateway = gateways(redis_url=None)
    await gateway.start()
    conversation, senders = await conversation_of(gateway, dial)
    for sender in senders:
        await sender.send(3, label="before")
    killed = gateway.replicas()
    for replica in killed.values():
        replica.kill()
    await gateway.replaced(set(killed), count=2)
    for sender in senders:
        await sender.send(3, label="after")
    reader = await dial(gateway, "owner")
    assert_exactly_once(await reader.history(conversation, limit=200), senders)
    assert all(ready["resumed"] for sender in senders for ready in sender.resumptions)
    assert gateway.logs.count("embedded_server_started") == 1
    assert await gateway.terminate() == 0


async def test_a_replica_told_to_stop_drains_and_is_replaced(gateways, dial):
    """SIGTERM to one of them moves its clients and no others."""
    gateway = gateways()
    await gateway.start()
    moved, stayed = (clients := await gateway.client_at_each(dial)).values()
    psutil.Process(next(iter(clients))).terminate()
    assert await moved.closed() == 4101
    await gateway.replaced({next(iter(clients))}, count=2)
    assert stayed.is_open
    again = await dial(gateway, "person0")
    assert (await again.restore(moved))["resumed"]


async def test_replicas_that_cannot_start_again_end_the_gateway(gateways, tmp_path):
    """Not at the first attempt; then with the status of the last."""
    handlers = tmp_path / "own_handlers.py"
    handlers.write_text(EXAMPLE.read_text())
    gateway = gateways(handlers="own_handlers")
    gateway._environment["PYTHONPATH"] = str(tmp_path)
    await gateway.start()
    handlers.write_text("raise ImportError('broken meanwhile')")
    for replica in gateway.replicas().values():
        replica.kill()
    assert await gateway.exited(within_s=LONG_S) == 2
    assert gateway.logs.count("replica_not_started") == 1
    assert gateway.logs.count("gateway: GATEWAY_HANDLERS") >= 5


# --- stopping ---


async def test_sigterm_drains_all_replicas_at_the_same_time(gateways, dial):
    """Every client is told, everybody ends, and the status is 0."""
    gateway = gateways(drain_window_s=0.2)
    await gateway.start()
    clients = (await gateway.client_at_each(dial)).values()
    replicas = gateway.replicas()
    assert await gateway.terminate() == 0
    assert [await client.closed() for client in clients] == [4101, 4101]
    assert not any(replica.is_running() for replica in replicas.values())
    assert gateway.logs.count('"forced": false') == 2


async def test_ctrl_c_in_a_terminal_is_one_stop(gateways, dial):
    """It reaches the whole process group: the replicas hear of it twice, and still drain."""
    gateway = gateways()
    await gateway.start()
    clients = (await gateway.client_at_each(dial)).values()
    for process in [psutil.Process(gateway.pid), *gateway.replicas().values()]:
        process.send_signal(signal.SIGINT)
    assert await gateway.exited() == 0
    assert [await client.closed() for client in clients] == [4101, 4101]
    assert gateway.logs.count('"forced": false') == 2
    assert "Traceback" not in gateway.logs


async def test_a_second_signal_stops_all_at_once(gateways, dial):
    """Without waiting for clients that have been given time to leave."""
    gateway = gateways(drain_window_s=LONG_S)
    await gateway.start()
    clients = (await gateway.client_at_each(dial)).values()
    gateway.signal(signal.SIGTERM)
    for client in clients:
        await client.until(lambda c=client: c.disconnect, what="told to leave")
    assert await gateway.terminate() == 0
    assert gateway.logs.count('"forced": true, "event": "server_stopped"') == 2


async def test_a_gateway_told_to_stop_while_it_starts_ends_well(gateways):
    """The first replica is there and not listening yet."""
    gateway = gateways(redis_url=None)
    gateway.launch()
    await eventually(lambda: "replica_started" in gateway.logs, what="a start", within_s=30)
    assert await gateway.terminate() == 0
    assert "listening on" not in gateway.logs
    assert "Traceback" not in gateway.logs


async def test_replicas_end_when_their_supervisor_is_killed(gateways, dial):
    """And tell their clients to go elsewhere before."""
    gateway = gateways()
    await gateway.start()
    clients = (await gateway.client_at_each(dial)).values()
    replicas = gateway.replicas()
    await gateway.kill()
    await eventually(
        lambda: not any(replica.is_running() for replica in replicas.values()),
        what="the replicas are gone",
        within_s=30,
    )
    assert [await client.closed() for client in clients] == [4101, 4101]


async def test_a_port_in_use_is_refused_once(gateways):
    """Also when it is a gateway that shares it among its own replicas."""
    gateway = gateways()
    await gateway.start()
    result = await asyncio.to_thread(
        refused, "--workers", "2", "--port", str(gateway.port), "--data-dir", "/dev/null/nowhere"
    )
    assert (result.returncode, result.stdout) == (2, "")
    problem = f"cannot listen on 127.0.0.1 port {gateway.port}: Address already in use"
    assert result.stderr == f"gateway: GATEWAY_PORT: {problem}\n"
