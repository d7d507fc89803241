"""6. Failures: each a clear error, nothing half done, and an end without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.promises.sessions.clear_errors import assert_clear, ready_is, recovers, status
from tests.support.eventually import eventually
from tests.support.gateways import GatewayProcess
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import InProcess, OwnRedis, Replicas
    from tests.support.dialling import Dialler

# What no client may see: addresses, names of our parts, Redis' own words.


async def test_storage_down_is_told_and_recovers_without_restart(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Redis gone: `unavailable` and /readyz 503. Redis back: the same sockets go on."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=1)
    alice = await dial(gateway)
    await alice.connect()
    conversation = await alice.create()
    first = await alice.say(conversation, "text of m1", client_message_id="m1")
    await eventually(lambda: ready_is(gateway, 200), what="ready at first")

    redis.kill()
    error = await alice.refusal(
        "send_message",
        conversation_id=conversation,
        client_message_id="m2",
        content="text of m2",
        agent=None,
    )
    assert_clear(error, "unavailable")
    for kind in ("get_conversation_history", "get_agent_context", "get_conversation"):
        assert_clear(await alice.refusal(kind, conversation_id=conversation), "unavailable")
    assert_clear(await alice.refusal("create_conversation", title="no"), "unavailable")
    await eventually(lambda: ready_is(gateway, 503), what="/readyz tells that storage is down")
    assert await status(gateway, "/healthz") == 200
    await alice.request("ping")

    await redis.start()
    second = await recovers(alice, conversation, "m2")
    assert second["offset"] == first["offset"] + 1
    await alice.heard(conversation, second["offset"])
    history = await alice.history(conversation)
    assert [m["client_message_id"] for m in history] == ["m1", "m2"]
    await eventually(lambda: ready_is(gateway, 200), what="/readyz recovers", within_s=15)


async def test_connect_while_storage_is_down_is_told_and_works_later(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A resume that storage could not serve does not cost the session."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=1)
    alice = await dial(gateway)
    await alice.connect()
    conversation = await alice.create()
    said = await alice.say(conversation, "before")
    await alice.heard(conversation, said["offset"])
    await alice.vanish()

    redis.kill()
    early = await dial(gateway)
    assert early.hello
    error = await early.refusal(
        "connect",
        session_id=alice.session["session_id"],
        resume_token=alice.session["resume_token"],
    )
    assert_clear(error, "unavailable")
    await early.vanish()

    await redis.start()
    await eventually(lambda: ready_is(gateway, 200), what="/readyz recovers", within_s=15)
    again = await dial(gateway)
    ready = await again.restore(alice)
    assert ready["resumed"] is True
    assert [m["content"] for m in await again.history(conversation)] == ["before"]


async def test_refused_connection_is_an_error_and_the_next_one_resumes(
    replicas: Replicas, dial: Dialler
) -> None:
    """Nothing listens for a while; the session waits."""
    async with Proxy(replicas[0].port) as road:
        alice = await dial(road)
        await alice.connect()
        conversation = await alice.create()
        said = await alice.say(conversation, "before")
        await alice.heard(conversation, said["offset"])
        await road.refuse()
        await road.cut()
        with pytest.raises(ConnectionRefusedError):
            await dial(road)
        await road.accept()
        again = await dial(road)
        ready = await again.restore(alice)
        assert ready["resumed"] is True
        assert again.log(conversation).messages == alice.log(conversation).messages


@pytest.mark.parametrize("reset", [True, False], ids=["RST", "FIN"])
async def test_send_cut_off_before_its_reply_is_there_at_most_once(
    replicas: Replicas, dial: Dialler, reset: bool
) -> None:
    """The client cannot know; it sends the same again and gets one message, once."""
    async with Proxy(replicas[0].port) as road:
        alice = await dial(road)
        await alice.connect()
        conversation = await alice.create()
        for n in range(5):
            road.swallow_replies()
            await alice.start(
                "send_message",
                conversation_id=conversation,
                client_message_id=f"m{n}",
                content=f"message {n}",
                agent=None,
            )
            await road.cut(reset=reset)
            await alice.closed()
            road.heal()
            again = await dial(road)
            await again.restore(alice)
            reply = await again.say(conversation, f"message {n}", client_message_id=f"m{n}")
            await again.heard(conversation, reply["offset"])
            alice = again
        assert [m["content"] for m in await alice.history(conversation)] == [
            f"message {n}" for n in range(5)
        ]
        assert [m["content"] for m in alice.log(conversation).messages] == [
            f"message {n}" for n in range(5)
        ]


async def test_slow_network_changes_nothing_but_the_time(replicas: Replicas, dial: Dialler) -> None:
    """With 100 ms each way, pipelined requests are answered in order and events are whole."""
    async with Proxy(replicas[0].port) as road:
        alice = await dial(road)
        conversation = await alice.create()
        road.delay_s = 0.1
        requests = [
            await alice.start(
                "send_message",
                conversation_id=conversation,
                client_message_id=f"m{n}",
                content=f"message {n}",
                agent=None,
            )
            for n in range(50)
        ]
        replies = [await alice.reply_to(request) for request in requests]
        offsets = [reply["offset"] for reply in replies]
        assert offsets == list(range(offsets[0], offsets[0] + 50))
        await alice.heard(conversation, offsets[-1])


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"port": "eighty"}, "GATEWAY_PORT"),
        ({"sesion_ttl_s": "600"}, "GATEWAY_SESION_TTL_S"),
        ({"jwt_secret": "short"}, "GATEWAY_JWT_SECRET"),
        ({"redis_url": "http://127.0.0.1:1"}, "GATEWAY_REDIS_URL"),
        ({"heartbeat_s": "-1"}, "GATEWAY_HEARTBEAT_S"),
        ({"handlers": "no.such.module"}, "no.such.module"),
        ({"handlers": ".module"}, "'.module': write package.module"),
        ({"agents": "foo"}, "GATEWAY_AGENTS: 'foo': write name=package.module:attribute"),
        ({"host": "192.0.2.1"}, "GATEWAY_HOST: cannot listen on 192.0.2.1"),
    ],
)
async def test_bad_setting_is_named_at_start(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    """The start is refused with one clear message, no traceback and a failing exit code."""
    gateway = GatewayProcess(tmp_path, redis_url="redis://127.0.0.1:1")
    gateway.configure(**settings)
    gateway.launch()
    code = await gateway.exited()
    assert code != 0
    assert named in gateway.logs
    assert "Traceback" not in gateway.logs
    assert "short" not in gateway.logs.split()


async def test_port_in_use_is_told_at_start(tmp_path: Path, replicas: Replicas) -> None:
    """A second gateway on the port of a first is refused with a word about the port."""
    second = GatewayProcess(tmp_path, redis_url="redis://127.0.0.1:1")
    second.configure(port=replicas[0].port)
    second.launch()
    assert await second.exited() != 0
    assert str(replicas[0].port) in second.logs
    assert "Traceback" not in second.logs
    assert replicas[0].is_running
