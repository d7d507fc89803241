"""A session has one holder at a time, however it is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.wire import RefusedRequest, SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis, Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

REPLACED, REVOKED = 4001, 4503


async def test_reconnect_that_beats_disconnect_detection_takes_the_session_over(
    replicas: Replicas, dial: Dialler
) -> None:
    """The old socket looks open still; the new one gets the session, the old one 4001."""
    old = await dial(replicas[0])
    await old.connect()
    conversation = await old.create()
    new = await dial(replicas[1])
    ready = await new.restore(old)
    assert ready["resumed"] is True
    assert ready["generation"] == old.session["generation"] + 1
    assert await old.closed() == REPLACED
    assert old.disconnect is not None
    assert (old.disconnect["code"], old.disconnect["reason"]) == (REPLACED, "replaced")
    said = await new.say(conversation, "from the new socket")
    await new.heard(conversation, said["offset"])


async def test_takeover_on_the_same_replica(replicas: Replicas, dial: Dialler) -> None:
    """It makes no difference that both sockets are on one replica."""
    old = await dial(replicas[0])
    await old.connect()
    new = await dial(replicas[0])
    ready = await new.resume(old)
    assert ready["generation"] == old.session["generation"] + 1
    assert await old.closed() == REPLACED


async def test_replaced_socket_can_do_nothing_more(replicas: Replicas, dial: Dialler) -> None:
    """What the old socket sends after the takeover is not accepted from it."""
    async with Proxy(replicas[0].port) as road:
        old = await dial(road)
        await old.connect()
        conversation = await old.create()
        road.swallow_replies()
        new = await dial(replicas[1])
        await new.restore(old)
        await new.request("ping")
        # The old client has not heard that it was replaced.
        road.heal()
        try:
            reply = await old.say(conversation, "from the past")
        except (SocketEnded, RefusedRequest):
            reply = None
        assert reply is None
        assert await new.history(conversation) == []


async def test_two_sockets_racing_to_resume_leave_one_holder(
    replicas: Replicas, dial: Dialler
) -> None:
    """Whoever comes first, at most one has the session in the end, and events come to it once."""
    for _ in range(10):
        old = await dial(replicas[0])
        await old.connect()
        await old.create()
        await old.vanish()
        racers = [await dial(replica) for replica in (*replicas, *replicas)]

        async def race(racer: WireClient, old: WireClient = old) -> bool:
            try:
                ready = await racer.resume(old)
            except SocketEnded as ended:  # overtaken before its own reply left
                assert ended.close_code == REPLACED
                return False
            assert ready["resumed"] or ready["resume_failure"] == "token_reused"
            return bool(ready["resumed"])

        won = await asyncio.gather(*(race(racer) for racer in racers))
        resumed = [racer for racer, has_won in zip(racers, won, strict=True) if has_won]
        generations = [racer.session["generation"] for racer in resumed]
        assert resumed
        assert len(set(generations)) == len(generations), "two sockets hold one generation"
        newest = max(resumed, key=lambda racer: racer.session["generation"])
        for racer in resumed:
            if racer is not newest:
                assert await racer.closed() == REPLACED
        assert (await newest.request("ping"))["type"] == "pong"


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
        attempt = await early.start(
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
            late = await early.reply_to(attempt)
            assert late["resumed"] is False
        bob = await dial(hung, "bob")  # served after the late attempt, on the same link
        await bob.connect()
        said = await again.say(conversation, "still mine")
        await again.heard(conversation, said["offset"])
        await again.vanish()
        last = await dial(healthy)
        assert (await last.restore(again))["resumed"] is True


async def test_replaced_client_can_come_back_and_replace_in_turn(
    replicas: Replicas, dial: Dialler
) -> None:
    """Takeovers chain: each new socket continues where the one before stood."""
    current = await dial(replicas[0])
    await current.connect()
    conversation = await current.create()
    for n in range(6):
        said = await current.say(conversation, f"message {n}")
        await current.heard(conversation, said["offset"])
        successor = await dial(replicas[n % 2])
        await successor.restore(current)
        assert await current.closed() == REPLACED
        current = successor
    told = [m["content"] for m in current.log(conversation).messages]
    assert told == [f"message {n}" for n in range(6)]


async def test_takeover_is_no_absence_for_others(in_process: InProcess, dial: Dialler) -> None:
    """Bob sees Alice online throughout: no presence flicker while her socket is replaced."""
    gateway = await in_process()
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    await alice.connect()
    conversation = await alice.create(participants=["bob"])
    await bob.request("join_conversation", conversation_id=conversation)
    new = await dial(gateway)
    await new.restore(alice)
    await alice.closed()
    said = await new.say(conversation, "still here")
    await bob.heard(conversation, said["offset"])
    assert not [
        push
        for push in bob.pushes
        if push["type"] == "presence" and push["subject"] == "alice" and not push["online"]
    ]
