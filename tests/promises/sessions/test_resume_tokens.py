"""Resume tokens: stolen, guessed, late or lost on the way. Only a thief is shut out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis, Replicas
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode


REPLACED, REVOKED = 4001, 4503


async def test_lost_session_ready_locks_nobody_out(replicas: Replicas, dial: Dialler) -> None:
    """The reply with the new token is lost, several times: the old token stays good."""
    async with Proxy(replicas[0].port) as road:
        alice = await dial(replicas[0])
        first = await alice.connect()
        conversation = await alice.create()
        said = await alice.say(conversation, "kept")
        await alice.heard(conversation, said["offset"])
        await alice.vanish()
        for _ in range(3):
            unlucky = await dial(road)
            road.swallow_replies()
            unlucky.take_on(alice)
            await unlucky.start(
                "connect",
                session_id=first["session_id"],
                resume_token=first["resume_token"],
                cursors=alice.cursors,
            )
            # Answered: the reply went as far as the proxy.
            await eventually(lambda: road.swallowed_bytes > 0, what="the reply was lost")
            await road.cut()
            await unlucky.closed()
            road.heal()
        again = await dial(replicas[1])
        ready = await again.restore(alice)
        assert (ready["session_id"], ready["resumed"]) == (first["session_id"], True)
        assert [m["content"] for m in again.log(conversation).messages] == ["kept"]


async def test_old_token_dies_when_the_new_session_is_used(
    replicas: Replicas, dial: Dialler
) -> None:
    """After the first frame with the new session the token before it is worth nothing."""
    alice = await dial(replicas[0])
    await alice.connect()
    await alice.vanish()
    heir = await dial(replicas[0])
    await heir.resume(alice)
    await heir.request("ping")
    thief = await dial(replicas[1])
    ready = await thief.resume(alice)
    assert (ready["resumed"], ready["resume_failure"]) == (False, "token_reused")
    assert ready["session_id"] != alice.session["session_id"]
    assert ready["conversations"] == {}


async def test_stolen_token_used_twice_revokes_the_session(
    replicas: Replicas, dial: Dialler
) -> None:
    """Reuse shows that two hold it: the session ends for both, and its open socket is closed."""
    alice = await dial(replicas[0])
    await alice.connect()
    await alice.create(title="mine")
    await alice.vanish()
    heir = await dial(replicas[0])
    await heir.resume(alice)
    await heir.request("ping")
    thief = await dial(replicas[1])
    assert (await thief.resume(alice))["resume_failure"] == "token_reused"
    assert await heir.closed() == REVOKED
    assert heir.disconnect["code"] == REVOKED
    late = await dial(replicas[1])
    ready = await late.resume(heir)
    assert ready["resumed"] is False


async def test_another_subjects_session_is_unknown(replicas: Replicas, dial: Dialler) -> None:
    """Mallory, with Alice's session id and token, learns nothing and harms nothing."""
    alice = await dial(replicas[0])
    await alice.connect()
    conversation = await alice.create()
    mallory = await dial(replicas[1], "mallory")
    stolen = await mallory.connect(
        session_id=alice.session["session_id"],
        resume_token=alice.session["resume_token"],
        cursors={conversation: {"epoch": "x", "offset": 0}},
    )
    made_up = await dial(replicas[1], "mallory")
    unknown = await made_up.connect(session_id="s_nothing", resume_token="nothing")
    for ready in (stolen, unknown):
        assert (ready["resumed"], ready["resume_failure"]) == (False, "unknown")
        assert ready["conversations"] == {}
    assert stolen.keys() == unknown.keys()
    said = await alice.say(conversation, "undisturbed")
    await alice.heard(conversation, said["offset"])
    assert conversation not in mallory.logs


async def test_another_tenants_session_is_unknown(replicas: Replicas, dial: Dialler) -> None:
    """The same subject name in another tenant is another subject."""
    alice = await dial(replicas[0])
    await alice.connect()
    namesake = await dial(replicas[0], tenant=f"{dial.tenant}-other")
    ready = await namesake.resume(alice)
    assert (ready["resumed"], ready["resume_failure"]) == (False, "unknown")
    await alice.request("ping")


async def test_wrong_token_for_a_real_session_is_unknown_and_does_not_revoke_it(
    replicas: Replicas, dial: Dialler
) -> None:
    """Guessing does not give a way to end somebody's session."""
    alice = await dial(replicas[0])
    await alice.connect()
    guesser = await dial(replicas[1])
    ready = await guesser.connect(session_id=alice.session["session_id"], resume_token="a guess")
    assert ready["resumed"] is False
    await alice.request("ping")
    again = await dial(replicas[1])
    assert (await again.resume(alice))["resumed"] is True


async def test_late_attempt_leaves_a_session_that_was_not_used_yet_to_its_holder(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Carried out late, it changes nothing: its own socket is closed as replaced."""
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        hung = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_reconnect_s=10)
        healthy = await in_process(redis_url=redis.url)
        alice = await dial(healthy)
        await alice.connect()
        await alice.vanish()
        await link.refuse()
        await link.cut()
        early = await dial(hung)
        await early.start(
            "connect",
            session_id=alice.session["session_id"],
            resume_token=alice.session["resume_token"],
        )
        again = await dial(healthy)
        assert (await again.resume(alice))["resumed"] is True
        await link.accept()
        assert await early.closed() == REPLACED
        assert again.disconnect is None
        await again.vanish()
        last = await dial(healthy)
        assert (await last.resume(again))["resumed"] is True


@pytest.mark.parametrize("leaves", [True, False], ids=["client left", "client waits"])
async def test_late_attempt_of_the_same_client_does_not_revoke_its_session(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, leaves: bool
) -> None:
    """A token shown late is no theft if the attempt began before the session changed hands.

    A resume waits at a replica without storage, the client goes on at another one, and when storage
    is back the first attempt is carried out, with a token that was replaced meanwhile.
    """
    redis = await own_redis()
    async with Proxy(redis.port) as link:
        hung = await in_process(redis_url=f"redis://127.0.0.1:{link.port}", redis_reconnect_s=10)
        healthy = await in_process(redis_url=redis.url)
        alice = await dial(healthy)
        await alice.connect()
        conversation = await alice.create()
        await alice.vanish()
        await link.refuse()
        await link.cut()
        early = await dial(hung)
        early.take_on(alice)
        await early.start(
            "connect",
            session_id=alice.session["session_id"],
            resume_token=alice.session["resume_token"],
        )
        if leaves:
            await early.vanish()
        again = await dial(healthy)
        assert (await again.restore(alice))["resumed"] is True
        await again.request("ping")
        await link.accept()
        if not leaves:
            assert await early.closed() == REPLACED
        bob = await dial(hung, "bob")  # served after the late attempt, on the same link
        await bob.connect()
        said = await again.say(conversation, "still mine")
        await again.heard(conversation, said["offset"])
        await again.vanish()
        last = await dial(healthy)
        assert (await last.restore(again))["resumed"] is True


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_token_whose_issue_was_lost_in_a_failover_resumes(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, codec: str
) -> None:
    """Redis came back as it was two resumes ago; the client was using what came since."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url)
    alice = await dial(gateway, codec=codec)
    await alice.connect()
    conversation = await alice.create()
    (key,) = await redis.call("KEYS", "*:session:*")
    await redis.call("COPY", key, "aside")
    current = alice
    for _ in range(2):
        await current.vanish()
        successor = await dial(gateway, codec=codec)
        await successor.restore(current)
        said = await successor.say(conversation, "seen")
        await successor.heard(conversation, said["offset"])
        current = successor
    await current.vanish()
    await eventually_away(redis, key)
    await redis.call("COPY", "aside", key, "REPLACE")
    last = await dial(gateway, codec=codec)
    ready = await last.restore(current)
    assert (ready["resumed"], ready["session_id"]) == (True, alice.session["session_id"])
    assert ready["generation"] == current.session["generation"] + 1
    assert [m["content"] for m in last.log(conversation).messages] == ["seen", "seen"]
    thief = await dial(gateway)
    await last.request("ping")
    assert (await thief.resume(current))["resume_failure"] == "token_reused"
    assert await last.closed() == REVOKED


async def eventually_away(redis: RedisNode, key: str) -> None:
    """Wait until the gateway has noticed that the session's socket is gone."""

    async def is_away() -> bool:
        return await redis.call("HGET", key, "connection") is None

    await eventually(is_away, what="the session has no socket")
