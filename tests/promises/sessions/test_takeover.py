"""A session has one holder at a time, however it is asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.proxy import Proxy
from tests.support.wire import RefusedRequest, SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

REPLACED = 4001


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
