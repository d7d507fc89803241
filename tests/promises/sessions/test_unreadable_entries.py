"""An entry that some consumer cannot take stops no consumer: written raw, past every check.

Anything that can write to Redis can put it there, and earlier versions did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from gateway_client import Event
from tests.client.clients import client_of, listening
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.conftest import InProcess, Replicas, Store
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient

PLACEHOLDER = {"type": "CUSTOM", "name": "unreadable_event", "value": None}
RAW = {
    "null": "null",
    "number": "17",
    "text": '"x"',
    "array": "[1]",
    "nothing": "",
    "object without a type": '{"x":1}',
    "type that is no text": '{"type":5}',
    "broken": '{"type":"CUSTOM","name":"x","value":',
    "two values": '{"type":"CUSTOM"}{}',
    "control character": '{"type":"CUSTOM","name":"a\nb","value":1}',
    "80 bits": f'{{"type":"CUSTOM","name":"x","value":{2**80}}}',
    "beyond a double": '{"type":"CUSTOM","name":"x","value":1e999}',
    "NaN": '{"type":"CUSTOM","name":"x","value":NaN}',
    "half a character": '{"type":"CUSTOM","name":"x","value":"\\ud800"}',
    "deep": '{"type":"CUSTOM","name":"x","value":%s}' % ("[" * 5000 + "]" * 5000),
    "broken message": '{"message_id":"m_x","seq":1,"role":',
    "broken text": '{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"x}',
    "leaver without a name": '{"type":"PARTICIPANT_LEFT"',
}
# It is JSON and has the form of what is looked at only in passing: the JSON clients can take it.
ONLY_JSON = f'{{"message_id":"m_x","seq":{2**80}}}'


async def write_raw(
    store: Store, tenant: str, conversation: str, entry: str, *, publish: bool = True
) -> int:
    """Append an entry as a script would, and publish it unless nobody is to hear it."""
    pattern = f"*:{tenant}:c:{conversation}"
    (base,) = await store.keys(pattern)
    (log,) = await store.keys(f"{pattern}:log")
    offset = await store.node.call("HINCRBY", base, "offset", 1)
    assert isinstance(offset, int)
    epoch = await store.node.call("HGET", base, "epoch")
    await store.node.call("RPUSH", log, entry)
    if publish:
        await store.node.call("PUBLISH", f"{base}:live", f"e:{epoch}:{offset}:{entry}")
    return offset


async def in_one_room(dial: Dialler, replicas: Any, room: str) -> list[WireClient]:
    """Two people with JSON and MessagePack, live in a new conversation."""
    alice = await dial(replicas[0])
    bob = await dial(replicas[-1], "bob", codec="msgpack")
    await alice.connect()
    await bob.connect()
    await alice.create(conversation_id=room, visibility="open")
    await bob.request("join_conversation", conversation_id=room)
    await bob.live(room)
    await alice.until(lambda: alice.log(room).of_type("PARTICIPANT_JOINED"), what="bob joined")
    return [alice, bob]


async def sees(client: WireClient, room: str, offset: int) -> dict[str, Any]:
    """Wait for the event at an offset."""
    log = client.log(room)
    await client.until(lambda: (log.offset or 0) >= offset, what=f"offset {offset}")
    event: dict[str, Any] = next(one["event"] for one in log.events if one["offset"] == offset)
    return event


async def read_from(
    dial: Dialler,
    endpoint: Endpoint,
    room: str,
    epoch: str | None,
    offset: int,
    *,
    subject: str = "alice",
    codec: str = "json",
) -> None:
    """Read the log from an entry that is replaced on, with a client that comes anew."""
    fresh = await dial(endpoint, subject, codec=codec)
    log = fresh.log(room)
    log.epoch, log.offset = epoch, offset - 1
    await fresh.connect()
    await fresh.request("join_conversation", conversation_id=room, cursor=log.cursor)
    assert await sees(fresh, room, offset) == PLACEHOLDER
    await fresh.live(room)


@pytest.mark.parametrize("entry", RAW.values(), ids=RAW)
async def test_entry_that_no_client_could_read_comes_as_a_placeholder(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str, entry: str
) -> None:
    """Live and replayed, in both codecs; what follows comes, and sessions resume past it."""
    clients = await in_one_room(dial, replicas, "c_raw")
    offset = await write_raw(store, tenant, "c_raw", entry)
    for client in clients:
        assert await sees(client, "c_raw", offset) == PLACEHOLDER
    for client in clients:
        await client.say("c_raw", "and on")
        assert client.is_open
    for client, subject, codec in zip(clients, ("alice", "bob"), ("json", "msgpack"), strict=True):
        await client.vanish()
        again = await dial(replicas[1], subject, codec=codec)
        await again.restore(client)
        assert again.log("c_raw").offset == offset + 2
        epoch = client.log("c_raw").epoch
        await read_from(dial, replicas[0], "c_raw", epoch, offset, subject=subject, codec=codec)


async def test_entry_that_one_codec_cannot_write_comes_as_a_placeholder_there(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str
) -> None:
    """What only MessagePack cannot hold is replaced there, alone among what leaves with it."""
    alice, bob = await in_one_room(dial, replicas, "c_one")
    offset = await write_raw(store, tenant, "c_one", ONLY_JSON, publish=False)
    after = await write_raw(store, tenant, "c_one", '{"type":"CUSTOM","name":"x","value":1}')
    assert await sees(bob, "c_one", offset) == PLACEHOLDER
    assert (await sees(alice, "c_one", offset))["message"]["seq"] == 2**80
    for client in (alice, bob):
        assert (await sees(client, "c_one", after))["value"] == 1


async def test_publication_that_is_none_is_as_if_it_was_lost(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str
) -> None:
    """Nobody's socket is closed, and the event it may have been is read from the log."""
    clients = await in_one_room(dial, replicas, "c_pub")
    (base,) = await store.keys(f"*:{tenant}:c:c_pub")
    for payload in ("e:", "e:x", "b:x:1:a,b:{}", "w:", "w:k_1:{", "x", "e:é:1:{}"):
        await store.node.call("PUBLISH", f"{base}:live", payload)
    offset = await write_raw(
        store, tenant, "c_pub", '{"type":"CUSTOM","name":"x","value":1}', publish=False
    )
    await store.node.call("PUBLISH", f"{base}:live", f"e:{offset}")
    for client in clients:
        assert (await sees(client, "c_pub", offset))["value"] == 1
        await client.say("c_pub", "and on")


async def test_word_to_a_replica_that_it_does_not_know_is_passed_over(
    in_process: InProcess, dial: Dialler, store: Store
) -> None:
    """It may be a newer replica's: what hears for everybody here is not rebuilt for it."""
    gateway = await in_process()
    unknown = ("x", ":", "9999:k_1", "4001", b"\xff")
    with capture_logs() as logs:
        alice, bob = await in_one_room(dial, [gateway], "c_word")
        for channel in await store.node.call("PUBSUB", "CHANNELS", "*:replica:*"):
            for payload in unknown:
                await store.node.call("PUBLISH", channel, payload)
        await alice.say("c_word", "and on")
        await bob.until(lambda: bob.log("c_word").messages, what="the message")
    events = [line["event"] for line in logs]
    assert events.count("publication_unreadable") >= len(unknown) - 1  # 4001 is known, and nobody's
    assert not {"fanout_deaf", "fanout_unavailable"} & set(events)


async def test_unreadable_entry_is_logged_once(
    in_process: InProcess, dial: Dialler, store: Store, tenant: str
) -> None:
    """However many read it, and however often: with the place where it stands."""
    gateway = await in_process()
    with capture_logs() as logs:
        clients = await in_one_room(dial, [gateway], "c_logged")
        offset = await write_raw(store, tenant, "c_logged", "null")
        for client in clients:
            await sees(client, "c_logged", offset)
        for _ in range(3):
            await read_from(dial, gateway, "c_logged", clients[0].log("c_logged").epoch, offset)
    (line,) = [one for one in logs if one["event"] == "event_unreadable"]
    assert (line["log_level"], line["conversation_id"]) == ("error", "c_logged")
    assert (line["epoch"], line["offset"]) == (clients[0].log("c_logged").epoch, offset)
    assert "object with a type" in line["problem"]


async def test_unreadable_message_of_the_history_is_left_out(
    replicas: Replicas, dial: Dialler, store: Store, tenant: str
) -> None:
    """As a deleted one, from a page and from a snapshot."""
    alice, bob = await in_one_room(dial, replicas, "c_his")
    await alice.say("c_his", "one")
    (history,) = await store.keys(f"*:{tenant}:c:c_his:history")
    await store.node.call("RPUSH", history, '{"message_id":"m","seq":2,"content":"\\ud800"')
    for client in (alice, bob):
        page = await client.request("get_conversation_history", conversation_id="c_his")
        assert [message["content"] for message in page["messages"]] == ["one"]
        cursor = {"epoch": "", "offset": 0}
        await client.request("join_conversation", conversation_id="c_his", cursor=cursor)
        await client.until(lambda: client.log("c_his").snapshots, what="a snapshot")  # noqa: B023
        messages = client.log("c_his").snapshots[-1]["messages"]
        assert [message["content"] for message in messages] == ["one"]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_python_client_gets_what_follows_an_unreadable_entry(
    replicas: Replicas, store: Store, tenant: str, codec: str
) -> None:
    """It goes on over the same link, and comes back past the entry."""
    async with client_of(replicas[0], tenant, codec=codec) as client:
        room = await client.join("c_py", create=True)
        async with listening(client) as listener:
            for raw in ("null", '{"type":"CUSTOM","name":"x","value":"\\ud800"}', ONLY_JSON):
                await write_raw(store, tenant, "c_py", raw)
            await room.send("and on")
            await eventually(lambda: "and on" in texts(listener.items), what="what follows")
            kinds = [type(one) for one in listener.items]
            assert kinds == [Event, Event, Event, Event]
            assert client.status.attempt == 0
            assert client.unreadable == 0


def texts(items: list[object]) -> list[str]:
    """The texts of the messages among items."""
    return [
        item.data["message"].get("content", "")
        for item in items
        if isinstance(item, Event) and item.type == "MESSAGE_CREATED"
    ]
