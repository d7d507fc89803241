"""The client at a real gateway, over a network that fails."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway_client import (
    ClientClosed,
    Conflict,
    Event,
    GatewayClient,
    NotFound,
    Options,
    ReplyTimeout,
    RequestFailed,
    SessionReplaced,
    State,
    VersionConflict,
)
from tests.client.clients import QUICK, client_of, listening
from tests.support.eventually import eventually
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnGateway, Replicas


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_two_clients_converse(replicas: Replicas, tenant: str, codec: str):
    """Both see all messages, in both encodings, on different replicas."""
    async with (
        client_of(replicas[0], tenant, codec=codec) as alice,
        client_of(replicas[1], tenant, "bob", codec=codec) as bob,
    ):
        there = await alice.join("lobby", create=True)
        here = await bob.join("lobby", create=True)
        async with listening(alice) as heard_by_alice, listening(bob) as heard_by_bob:
            accepted = await there.send("hello", agent=None)
            await here.send("hi", agent=None)
            for heard in (heard_by_alice, heard_by_bob):
                await eventually(lambda h=heard: len(h.texts) == 2, what="two messages heard")
        assert heard_by_alice.texts == heard_by_bob.texts == ["hello", "hi"]
        assert [one.text for one in (await here.history()).messages] == ["hello", "hi"]
        assert (accepted.seq, accepted.duplicate) == (1, False)


async def test_context_is_read_and_patched_by_version(replicas: Replicas, tenant: str):
    """A patch on an old version is refused with the current one."""
    async with client_of(replicas[0], tenant) as client:
        conversation = await client.create_conversation()
        patch = [{"op": "add", "path": "/memory/k", "value": "v"}]
        version = await conversation.update_context(patch, base_version=0)
        assert (await conversation.context()).memory == {"k": "v"}
        with pytest.raises(VersionConflict) as conflict:
            await conversation.update_context(patch, base_version=0)
        assert conflict.value.version == version
        assert version in [one.version for one in await conversation.context_versions()]
        await conversation.rollback_context(0)
        assert (await conversation.context()).memory == {}


async def test_requests_have_typed_answers_and_errors(replicas: Replicas, tenant: str):
    """Information, lists, errors by class."""
    async with client_of(replicas[0], tenant) as client:
        conversation = await client.create_conversation(title="t", metadata={"a": 1})
        info = await conversation.info()
        assert (info.title, info.metadata) == ("t", {"a": 1})
        page = await client.list_conversations()
        assert [one.conversation_id for one in page.conversations] == [conversation.id]
        with pytest.raises(Conflict):
            await client.create_conversation(conversation.id)
        with pytest.raises(NotFound):
            await client.join("not-there")
        with pytest.raises(RequestFailed, match="unknown_type"):
            await client.request("no_such_type")
        assert await client.ping() < 2


async def test_invite_lets_in_until_it_is_revoked(replicas: Replicas, tenant: str):
    """It is listed with what is left of it; revoked, it is as one that never was."""
    async with (
        client_of(replicas[0], tenant) as alice,
        client_of(replicas[1], tenant, "bob") as bob,
        client_of(replicas[1], tenant, "carol") as carol,
    ):
        conversation = await alice.create_conversation()
        code = (await conversation.create_invite(uses=2)).invite
        await bob.join(conversation.id, invite=code)
        (kept,) = await conversation.invites()
        assert (kept.uses_left, kept.role, kept.created_by) == (1, "member", "alice")
        await conversation.revoke_invite(kept.invite_id)
        assert await conversation.invites() == []
        with pytest.raises(NotFound):
            await carol.join(conversation.id, invite=code)


async def test_message_without_conversation_begins_one(replicas: Replicas, tenant: str):
    """Its events come to the client that sent it."""
    async with client_of(replicas[0], tenant) as client, listening(client) as heard:
        accepted = await client.send("first", agent=None)
        await client.conversation(accepted.conversation_id).send("second", agent=None)
        await eventually(lambda: heard.texts == ["first", "second"], what="both heard")
        heard.assert_no_gap()


async def test_nothing_is_lost_or_doubled_over_a_network_that_cuts(replicas: Replicas, tenant: str):
    """Sixty messages each way while both links are cut again and again."""
    async with (
        Proxy(replicas[0].port) as network,
        client_of(network, tenant, options=QUICK) as alice,
        client_of(network, tenant, "bob", options=QUICK) as bob,
    ):
        names = {"alice": alice, "bob": bob}
        rooms = {name: await client.join("c", create=True) for name, client in names.items()}
        async with listening(alice) as by_alice, listening(bob) as by_bob:
            async with asyncio.TaskGroup() as tasks:
                for n in range(60):
                    for name, room in rooms.items():
                        tasks.create_task(room.send(f"{name} {n}", agent=None))
                for cut in range(1, 6):
                    await eventually(
                        lambda c=cut: len(by_alice.texts) >= 15 * c, what="some came", within_s=20
                    )
                    await network.cut()
            for heard in (by_alice, by_bob):
                await eventually(lambda h=heard: len(h.texts) >= 120, what="all heard")
                heard.assert_no_gap()
                for name in names:
                    mine = [text for text in heard.texts if text.startswith(name)]
                    assert mine == [f"{name} {n}" for n in range(60)]


async def test_killed_gateway_is_waited_for(own_gateway: OwnGateway, tenant: str):
    """SIGKILL and a restart: the session is the same, what was sent meanwhile arrives once."""
    gateway = await own_gateway()
    async with client_of(gateway, tenant) as client, listening(client) as heard:
        room = await client.join("c", create=True)
        await room.send("before", agent=None)
        session_id = client.session_id
        await gateway.kill()
        await eventually(lambda: client.state is State.RESUMING, what="the drop is noticed")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(room.send("meanwhile", agent=None))
            await gateway.start()
        await eventually(lambda: heard.texts == ["before", "meanwhile"], what="both heard")
        heard.assert_no_gap()
        assert client.session_id == session_id


async def test_client_moves_to_another_replica(replicas: Replicas, tenant: str):
    """The session does not belong to a gateway."""
    async with Proxy(replicas[0].port) as network, client_of(network, tenant) as client:
        room = await client.join("c", create=True)
        async with listening(client) as heard:
            network._target = ("127.0.0.1", replicas[1].port)
            await network.cut()
            await room.send("moved", agent=None)
            await eventually(lambda: heard.texts == ["moved"], what="heard")
        assert client.status.was_resumed


async def test_silent_network_is_noticed(in_process: InProcess, tenant: str):
    """Half-open: no error ever comes, only silence."""
    gateway = await in_process(heartbeat_s=0.5, heartbeat_timeout_s=0.5)
    async with (
        Proxy(gateway.port) as network,
        client_of(network, tenant, options=QUICK) as client,
    ):
        network.half_open()
        await eventually(lambda: client.state is State.RESUMING, what="silence is noticed")
        network.heal()
        await network.cut()
        await eventually(lambda: client.state is State.LIVE, what="it is live again")
        assert client.status.was_resumed


async def test_reply_that_is_lost_is_asked_for_again(replicas: Replicas, tenant: str):
    """The message was accepted and the acknowledgement lost: the same result, once in history."""
    async with (
        Proxy(replicas[0].port) as network,
        client_of(network, tenant, options=QUICK) as client,
    ):
        room = await client.join("c", create=True)
        network.swallow_replies()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(room.send("once", agent=None))
            await eventually(lambda: network.swallowed_bytes > 0, what="a reply is lost")
            network.heal()
            await network.cut()
        assert sending.result().duplicate
        assert [one.text for one in (await room.history()).messages] == ["once"]


async def test_slow_application_is_served_whole(replicas: Replicas, tenant: str):
    """Two hundred events for a consumer with room for ten, which asks something at each."""
    small = Options(inbox_items=10)
    async with (
        client_of(replicas[0], tenant) as writer,
        client_of(replicas[1], tenant, "bob", options=small) as reader,
    ):
        room = await writer.join("c", create=True)
        slow = await reader.join("c")
        async with asyncio.TaskGroup() as tasks:
            for n in range(200):
                tasks.create_task(room.send(f"{n}", agent=None))
        texts = []
        async with asyncio.timeout(30):
            async for item in reader.events():
                assert isinstance(item, Event)
                if item.type == "MESSAGE_CREATED":
                    texts.append(item.data["message"]["content"])
                    await slow.info()
                if len(texts) == 200:
                    break
        assert texts == [f"{n}" for n in range(200)]


async def test_cancelled_wait_for_an_event_loses_nothing(replicas: Replicas, tenant: str):
    """The stream goes on after a time limit."""
    async with client_of(replicas[0], tenant) as client:
        room = await client.join("c", create=True)
        events = client.events()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(events)
        await room.send("hi", agent=None)
        assert (await anext(events)).data["message"]["content"] == "hi"


async def test_send_that_ran_out_of_time_is_still_sent(replicas: Replicas, tenant: str):
    """The call ends, the message stays in the outbox."""
    async with Proxy(replicas[0].port) as network, client_of(network, tenant) as client:
        room = await client.join("c", create=True)
        await network.refuse()
        await network.cut()
        with pytest.raises(ReplyTimeout):
            await room.send("late", agent=None, timeout_s=0.1)
        assert client.unacknowledged == 1
        await network.accept()
        await eventually(lambda: client.unacknowledged == 0, what="it is acknowledged")
        assert [one.text for one in (await room.history()).messages] == ["late"]


async def test_saved_state_goes_on_in_another_run(replicas: Replicas, tenant: str):
    """Another client with the state of the first has just what came since, in its session."""
    async with client_of(replicas[0], tenant) as first:
        room = await first.join("c", create=True)
        await room.send("seen", agent=None)
        assert (await anext(first.events())).data["message"]["content"] == "seen"
        state, session_id = first.export_state(), first.session_id
    async with client_of(replicas[1], tenant, "bob") as bob:
        await (await bob.join("c")).send("missed", agent=None)
    async with client_of(replicas[1], tenant, state=state) as second, listening(second) as heard:
        assert second.session_id == session_id
        await eventually(lambda: heard.texts == ["missed"], what="what was missed is heard")


async def test_takeover_is_not_fought(replicas: Replicas, tenant: str):
    """The older client is closed; asked to, it goes on in a session of its own, losing nothing."""
    async with client_of(replicas[0], tenant) as older:
        room = await older.join("c", create=True)
        async with client_of(replicas[1], tenant, state=older.export_state()) as newer:
            with pytest.raises(SessionReplaced):
                await anext(older.events())
            assert older.state is State.CLOSED
            await newer.conversation("c").send("to both", agent=None)
            await older.reconnect()
            assert older.session_id != newer.session_id
            async with listening(older) as heard:
                await eventually(lambda: heard.texts == ["to both"], what="heard")
            assert newer.state is State.LIVE
        await room.send("still there", agent=None)


async def test_session_that_has_expired_loses_no_event(in_process: InProcess, tenant: str):
    """A new session is made, and the conversation goes on at the cursor."""
    gateway = await in_process(session_ttl_s=60)
    async with Proxy(gateway.port) as network, client_of(network, tenant) as client:
        room = await client.join("c", create=True)
        session_id = client.session_id
        async with listening(client) as heard:
            await network.refuse()
            await network.cut()
            async with client_of(gateway, tenant, "bob") as bob:
                await (await bob.join("c")).send("missed", agent=None)
            gateway.clock.advance(61)
            await network.accept()
            await room.send("after", agent=None)
            await eventually(lambda: heard.texts == ["missed", "after"], what="heard")
        assert client.session_id != session_id


async def test_exit_is_clean_whatever_happens(replicas: Replicas, tenant: str):
    """An error of the block comes out as it is, waiting calls end, no task is left."""
    before = asyncio.all_tasks()
    client = client_of(replicas[0], tenant)
    with pytest.raises(ZeroDivisionError):
        async with client:
            raise ZeroDivisionError
    assert asyncio.all_tasks() == before
    assert client.state is State.CLOSED
    with pytest.raises(ClientClosed):
        await client.ping()


async def test_url_of_another_scheme_is_refused():
    """The mistake is named, the token in it is not."""
    with pytest.raises(ValueError, match="ws://") as mistake:
        GatewayClient("http://host/ws?token=secret")
    assert "secret" not in str(mistake.value)
