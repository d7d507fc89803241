"""A session that Redis has lost is nobody's: its socket is closed as one that may come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway_client import ClientClosed, GatewayClient, State
from tests.client.clients import client_of
from tests.support.eventually import eventually, passing
from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler

UNAVAILABLE = 4104
OFTEN = {"brief_s": 0.6}  # sessions are vouched for three times in that


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("does", ["uses it", "is silent"])
async def test_socket_of_a_session_that_is_gone_may_come_back(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, codec: str, does: str
) -> None:
    """All data were erased: 4104, found at the next use or when sessions are vouched for."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, **(OFTEN if does == "is silent" else {}))
    alice = await dial(gateway, codec=codec)
    await alice.connect()
    await redis.call("FLUSHALL")
    if does == "uses it":
        with pytest.raises(SocketEnded):
            await alice.request("create_conversation")
    assert await alice.closed() == UNAVAILABLE
    assert (alice.disconnect["reason"], alice.disconnect["reconnect"]) == ("unavailable", True)
    again = await dial(gateway, codec=codec)
    assert (await again.resume(alice))["resume_failure"] == "expired"
    conversation = await again.create()
    said = await again.say(conversation, "anew")
    await again.heard(conversation, said["offset"])


async def test_socket_of_a_session_that_fell_back_resumes_it(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A failover lost that it was resumed: nobody took it over, and its token tells that."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, **OFTEN)
    first = await dial(gateway)
    await first.connect()
    conversation = await first.create()
    (key,) = await redis.call("KEYS", "*:session:*")
    await redis.call("COPY", key, "aside")
    alice = await dial(gateway)
    await alice.restore(first)
    await redis.call("COPY", "aside", key, "REPLACE")
    assert await alice.closed() == UNAVAILABLE
    again = await dial(gateway)
    ready = await again.restore(alice)
    assert (ready["resumed"], ready["generation"]) == (True, alice.session["generation"] + 1)
    said = await again.say(conversation, "whole")
    await again.heard(conversation, said["offset"])


async def test_client_goes_on_after_all_data_were_erased(
    in_process: InProcess, own_redis: OwnRedis, tenant: str
) -> None:
    """In a session of its own, without being asked to: it was not replaced."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, **OFTEN)
    client: GatewayClient = client_of(gateway, tenant)
    async with client:
        before = client.session_id
        await redis.call("FLUSHALL")
        await eventually(
            lambda: client.session_id != before and client.state is State.LIVE,
            what="another session",
        )
        assert not isinstance(client.last_error, ClientClosed)
        conversation = await client.join("c_anew", create=True)
        assert (await conversation.send("hello")).offset > 0


async def test_client_goes_on_after_redis_was_away_for_longer_than_its_session_lives(
    in_process: InProcess, own_redis: OwnRedis, tenant: str
) -> None:
    """It stayed connected, nobody replaced it: 4001 is for a takeover alone."""
    redis = await own_redis()
    lifetime_s = 1.0
    gateway = await in_process(
        redis_url=redis.url, session_ttl_s=lifetime_s, redis_timeout_s=0.3, **OFTEN
    )
    client: GatewayClient = client_of(gateway, tenant)
    async with client:
        conversation = await client.join("c_stays", create=True)
        before = client.session_id
        redis.pause()
        await passing(lifetime_s + 0.5)
        redis.resume()
        await eventually(
            lambda: client.session_id != before and client.state is State.LIVE,
            what="another session",
            within_s=20,
        )
        assert not isinstance(client.last_error, ClientClosed)
        assert (await conversation.send("still here")).offset > 0


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_socket_whose_session_expired_under_it_may_come_back(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, codec: str
) -> None:
    """As when the clock of Redis jumps ahead: all that expires has, and the socket is open."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, **OFTEN)
    alice = await dial(gateway, codec=codec)
    await alice.connect()
    for key in await redis.call("KEYS", "*:u:*"):
        await redis.call("PEXPIRE", key, 1)
    assert await alice.closed() == UNAVAILABLE
    assert alice.disconnect["reconnect"] is True
