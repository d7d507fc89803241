"""6. Failures: each a clear error, nothing half done, and an end without a restart."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.dialling import http_url
from tests.support.eventually import eventually
from tests.support.gateways import GatewayProcess, free_port
from tests.support.proxy import Proxy
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import InProcess, OwnRedis, Replicas
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.redis_node import RedisNode
    from tests.support.wire import WireClient

# What no client may see: addresses, names of our parts, Redis' own words.
INTERNAL = ("redis", "valkey", "127.0.0.1", "traceback", "errno", "gw:", ".py", "hiredis", "lua")


async def status(endpoint: Endpoint, path: str) -> int:
    """Return the HTTP status of a health route."""
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.get(http_url(endpoint, path), timeout=10)
    return reply.status_code


async def recovers(client: WireClient, conversation: str, name: str) -> dict[str, object]:
    """Send one message with the same id until it is accepted."""

    async def attempt() -> dict[str, object] | None:
        try:
            return await client.say(conversation, f"text of {name}", client_message_id=name)
        except RefusedRequest as refused:
            assert refused.error["retryable"] is True
            return None

    return await eventually(attempt, what="the gateway recovers", within_s=20)


def assert_clear(error: dict[str, object], *codes: str) -> None:
    """Check that an error is one of `codes`, says that a retry helps, and shows no internals."""
    assert error["code"] in codes
    assert error["retryable"] is True
    message = str(error["message"]).lower()
    assert message
    assert not [word for word in INTERNAL if word in message]


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


async def ready_is(endpoint: Endpoint, expected: int) -> bool:
    """Whether /readyz answers with this status."""
    return await status(endpoint, "/readyz") == expected


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


async def test_lost_reply_of_storage_is_a_timeout_and_nothing_is_done_twice(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Redis carried the write out and its answer was lost: whether it happened is told honestly,
    and sending again finds the one message.
    """
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        gateway = await in_process(
            redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=0.5
        )
        alice = await dial(gateway)
        conversation = await alice.create()
        await alice.say(conversation, "text of m1", client_message_id="m1")
        link.swallow_replies()
        error = await alice.refusal(
            "send_message",
            conversation_id=conversation,
            client_message_id="m2",
            content="text of m2",
            agent=None,
        )
        # `unavailable` would say that nothing was accepted, which is not known.
        assert_clear(error, "timeout")
        link.heal()
        await link.cut()
        await recovers(alice, conversation, "m2")
        history = await alice.history(conversation)
        assert [m["client_message_id"] for m in history] == ["m1", "m2"]


async def test_hung_storage_is_told_within_the_time_limit(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A server that is stopped (SIGSTOP) answers nothing and closes nothing; clients are told."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=0.5)
    alice = await dial(gateway)
    conversation = await alice.create()
    redis.pause()
    try:
        error = await alice.refusal(
            "send_message",
            conversation_id=conversation,
            client_message_id="m1",
            content="text of m1",
            agent=None,
        )
        assert_clear(error, "timeout", "unavailable")
        await eventually(lambda: ready_is(gateway, 503), what="not ready", within_s=15)
    finally:
        redis.resume()
    await recovers(alice, conversation, "m1")
    assert len(await alice.history(conversation)) == 1
    await eventually(lambda: ready_is(gateway, 200), what="/readyz recovers", within_s=15)


async def refuse_for_memory(redis: RedisNode) -> None:
    """Make it refuse writes as a server does that is full."""
    await redis.call("CONFIG", "SET", "maxmemory", "1")


async def refuse_for_disk(redis: RedisNode) -> None:
    """Make it refuse writes (MISCONF) as a server does whose disk takes no more."""
    shutil.rmtree(redis.log_path.parent)  # its open files live on, new ones cannot be made
    await redis.call("CONFIG", "SET", "save", "1 1")
    await redis.call("BGSAVE")

    async def failed() -> bool:
        return (await redis.info("persistence"))["rdb_last_bgsave_status"] == "err"

    await eventually(failed, what="the save fails")


async def refuse_as_replica(redis: RedisNode) -> None:
    """Make it refuse writes (READONLY) as a server does that was demoted."""
    await redis.call("REPLICAOF", "127.0.0.1", free_port())


REFUSALS = {
    "memory": (refuse_for_memory, ("CONFIG", "SET", "maxmemory", "0")),
    "disk": (refuse_for_disk, ("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")),
    "replica": (refuse_as_replica, ("REPLICAOF", "NO", "ONE")),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_storage_that_refuses_writes_is_unavailable_and_nothing_is_half_done(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, kind: str
) -> None:
    """Full memory, a full disk, a demoted master: `unavailable`, then all goes on."""
    refuse, mend = REFUSALS[kind]
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, redis_timeout_s=1)
    alice = await dial(gateway)
    conversation = await alice.create()
    first = await alice.say(conversation, "text of m1", client_message_id="m1")
    await refuse(redis)
    error = await alice.refusal(
        "send_message",
        conversation_id=conversation,
        client_message_id="m2",
        content="text of m2",
        agent=None,
    )
    assert_clear(error, "unavailable")
    await eventually(lambda: ready_is(gateway, 503), what="not ready", within_s=15)
    await redis.call(*mend)
    second = await recovers(alice, conversation, "m2")
    assert second["offset"] == first["offset"] + 1
    history = await alice.history(conversation)
    assert [m["client_message_id"] for m in history] == ["m1", "m2"]


async def test_replica_that_lost_its_storage_link_catches_up(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """While one replica is cut off another goes on; its clients then hear all, without a gap."""
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        cut_off = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=1)
        healthy = await in_process(redis_url=redis.url)
        alice, bob = await dial(cut_off), await dial(healthy, "bob")
        conversation = await alice.create(participants=["bob"])
        await link.refuse()
        await link.cut()
        for n in range(20):
            last = await bob.say(conversation, f"message {n}")
        await link.accept()
        await alice.heard(conversation, last["offset"], within_s=20)
        told = [m["content"] for m in alice.log(conversation).messages]
        assert told == [f"message {n}" for n in range(20)]


async def test_replica_with_a_silent_storage_link_catches_up(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A link that swallows everything gives no error at all; the replica must notice by itself."""
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        deaf = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_timeout_s=1)
        healthy = await in_process(redis_url=redis.url)
        alice, bob = await dial(deaf), await dial(healthy, "bob")
        conversation = await alice.create(participants=["bob"])
        link.half_open()
        for n in range(20):
            last = await bob.say(conversation, f"message {n}")
        await eventually(lambda: ready_is(deaf, 503), what="a deaf replica is not ready")
        link.heal()  # what was swallowed stays lost; the old connections are torn in the middle
        await alice.heard(conversation, last["offset"], within_s=20)
        told = [m["content"] for m in alice.log(conversation).messages]
        assert told == [f"message {n}" for n in range(20)]


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
