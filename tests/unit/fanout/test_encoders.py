"""A custom encoder is one class: the hub, the readers and the outbox do the rest for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.fanout.outbox import Outbox
from gateway.identity.caller import Caller
from gateway.protocol.batches import Batch, Shared
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Presence
from gateway.protocol.publications import Publication
from gateway.protocol.unreadable import PLACEHOLDER
from gateway.store.channel import whisper
from tests.support.eventually import eventually
from tests.support.sse_encoder import SseEncoder
from tests.support.stores import make, say
from tests.unit.fanout.test_hub import replica

if TYPE_CHECKING:
    from gateway.fanout.subscriptions import Subscriptions
    from gateway.protocol.encoders import Encoder
    from tests.support.redis_node import RedisNode
    from tests.unit.fanout.test_hub import Replica

MANY = 1_000_000


def taken(subscriptions: Subscriptions) -> list[bytes]:
    """Take what a connection would write now, an item each."""
    encoder = subscriptions.encoder
    return [
        item.wire(encoder) if isinstance(item, Shared) else item
        for item in subscriptions.outbox.take(MANY)
    ]


def ids(stream: bytes) -> list[int]:
    """Return the offsets of the blocks that have one."""
    return [int(found) for found in re.findall(rb"^id: \w+\.(\d+)$", stream, re.MULTILINE)]


async def attached(made: Replica, caller: Caller, encoder: Encoder) -> Subscriptions:
    """Attach to `c_1` as a new connection, from where it stands; what that sends is taken."""
    subscriptions = made.attach(caller, encoder=encoder)
    subscriptions.begin([await subscriptions.prepare("c_1", None)], announce=False)
    subscriptions.outbox.take(MANY)
    return subscriptions


async def test_what_an_encoder_makes_of_a_batch_is_made_once_for_all_its_receivers(
    redis_server: RedisNode, tenant: str
) -> None:
    """The same bytes object from the hub to each outbox; other encoders have their own."""
    alice, sse = Caller(tenant, "alice"), SseEncoder()
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        encoders = (sse, sse, sse, ENCODERS["json"])
        readers = [await attached(made, alice, encoder) for encoder in encoders]
        await say(made.store, alice, "c_1", content="hello")
        await eventually(lambda: all(one.outbox for one in readers), what="all are told")
        streams = [taken(one) for one in readers]
        assert [len(items) for items in streams] == [1, 1, 1, 1]
        (one,), (two,), (three,), (json,) = streams
        assert one is two
        assert two is three
        assert sse.batches_made == 1
        assert ids(one) == [3]
        assert b'"hello"' in one
        assert one != json


async def test_a_replay_and_a_whisper_are_written_by_the_encoder(
    redis_server: RedisNode, tenant: str
) -> None:
    """What it has no word for is left out, and `live` follows what there is."""
    alice, sse = Caller(tenant, "alice"), SseEncoder()
    async with replica(redis_server.url) as made:
        start = await make(made.store, alice, "c_1")
        for n in range(3):
            await say(made.store, alice, "c_1", str(n))
        reader = made.attach(alice, encoder=sse)
        reader.begin([await reader.prepare("c_1", start)], announce=True)
        stream: list[bytes] = []

        def is_live() -> bool:
            stream.extend(taken(reader))
            return b'"type":"live"' in b"".join(stream)

        await eventually(is_live, what="the replay is over")
        assert ids(b"".join(stream)) == [3, 4, 5]
        push = Presence(conversation_id="c_1", subject="bob", online=True)
        await made.store.conversations.whisper(alice, "c_1", whisper("k_9", push))
        await eventually(lambda: reader.outbox, what="it is heard")
        assert taken(reader) == [sse.encode(push)]


def delta(offset: int, text: str) -> Publication:
    """Return a piece of a reply, as a run's worker writes it."""
    event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m_1", "delta": text}
    return Publication("c_1", "x", offset, JsonText.of(event))


def test_text_is_merged_for_a_slow_receiver_whatever_its_encoder() -> None:
    """One block with the text of all, under the position of the last."""
    sse = SseEncoder()
    outbox = Outbox(2000, on_full=lambda: None, on_filled=lambda: None)
    outbox.put(b"x" * 1001)  # more than half full
    for offset in range(1, 21):
        assert outbox.put_live(Batch([delta(offset, "word ")])) == 1
    _, merged = outbox.take(MANY)
    assert isinstance(merged, Batch)
    stream = merged.wire(sse)
    assert ids(stream) == [20]
    assert b"word " * 20 in stream


def test_an_event_that_an_encoder_fails_at_is_replaced_for_it_only() -> None:
    """The others of its batch are written as they are, and other encoders write all of them."""
    cannot = JsonText.of({"type": "CUSTOM", "value": SseEncoder.CANNOT.decode()})
    batch = Batch([delta(1, "one"), Publication("c_1", "x", 2, cannot), delta(3, "three")])
    first, replaced, third = batch.payloads(SseEncoder())
    assert (b"one" in first, b"three" in third) == (True, True)
    assert replaced == b"id: x.2\ndata: %b\n\n" % PLACEHOLDER.data
    assert SseEncoder.CANNOT in batch.wire(ENCODERS["json"])
