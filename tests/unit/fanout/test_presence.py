"""Who came and went, as the others hear it, over a real Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.fanout.presence import PresenceAnnouncer
from gateway.identity.caller import Caller
from gateway.protocol.encoders import ENCODERS
from tests.support.eventually import eventually
from tests.support.stores import make
from tests.unit.fanout.test_hub import listen, replica

if TYPE_CHECKING:
    from tests.support.redis_node import RedisNode
    from tests.unit.fanout.test_hub import Recorder, Replica


@pytest.fixture
def alice(tenant: str) -> Caller:
    """Who makes the conversations."""
    return Caller(tenant, "alice")


def told(reader: Recorder) -> list[tuple[str, bool]]:
    """Return who came or went, as one reader heard."""
    pushes = [msgspec.json.decode(push) for push in reader.whispers]
    return [(push["subject"], push["online"]) for push in pushes if push["type"] == "presence"]


async def heard(made: Replica, alice: Caller, reader: Recorder) -> list[tuple[str, bool]]:
    """Return what was heard up to now: a whisper sent after it has come."""
    await made.store.conversations.whisper(alice, "c_1", b'w:k_0:{"type":"typing"}')
    await eventually(lambda: b'{"type":"typing"}' in reader.whispers, what="the last whisper")
    return told(reader)


async def come(made: Replica, tenant: str, *subjects: str) -> None:
    """Have those who were added be there by their own doing."""
    for subject in subjects:
        await made.store.conversations.came(Caller(tenant, subject), "c_1")


async def test_all_that_happens_in_a_moment_is_told_once(
    redis_server: RedisNode, alice: Caller
) -> None:
    """In one publication; not of who came and went again within it, nor of who was only added."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1", participants=["bob", "carol", "dave"])
        await come(made, alice.tenant, "bob", "carol")
        _, reader = await listen(made, alice)
        announcer = PresenceAnnouncer(made.store)
        announcer.tell(Caller(alice.tenant, "bob"), "k_2", ["c_1"], is_online=True)
        announcer.tell(Caller(alice.tenant, "carol"), "k_3", ["c_1"], is_online=False)
        announcer.tell(Caller(alice.tenant, "dave"), "k_6", ["c_1"], is_online=True)  # only added
        announcer.tell(alice, "k_4", ["c_1"], is_online=False)
        announcer.tell(alice, "k_5", ["c_1"], is_online=True)
        await announcer.tell_now()
        await announcer.tell_now()
        assert await heard(made, alice, reader) == [("bob", True), ("carol", False)]


async def test_who_takes_no_part_is_not_told_of(redis_server: RedisNode, alice: Caller) -> None:
    """Their session may remember a conversation that they were removed from."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1", participants=["bob"])
        await come(made, alice.tenant, "bob")
        _, reader = await listen(made, alice)
        announcer = PresenceAnnouncer(made.store)
        for subject in ("bob", "mallory"):
            announcer.tell(Caller(alice.tenant, subject), "k_2", ["c_1"], is_online=True)
        await announcer.tell_now()
        assert await heard(made, alice, reader) == [("bob", True)]


async def test_a_connection_is_not_told_of_itself(redis_server: RedisNode, alice: Caller) -> None:
    """The reader is connection k_1."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1")
        _, reader = await listen(made, alice)
        announcer = PresenceAnnouncer(made.store)
        announcer.tell(alice, "k_1", ["c_1"], is_online=True)
        await announcer.tell_now()
        assert await heard(made, alice, reader) == []


async def test_several_pushes_of_one_whisper_are_frames_of_their_own(
    redis_server: RedisNode, alice: Caller
) -> None:
    """In either codec: a client gets one message a frame."""
    async with replica(redis_server.url) as made:
        await make(made.store, alice, "c_1", participants=["bob"])
        await come(made, alice.tenant, "bob")
        topic, _ = await listen(made, alice)
        subscriptions = made.attach(Caller(alice.tenant, "bob"))
        subscriptions.connection_id = "k_9"
        subscriptions.begin([await subscriptions.prepare("c_1", None)], announce=False)
        subscriptions.outbox.take(1_000_000)
        assert len(topic.live) == 2
        announcer = PresenceAnnouncer(made.store)
        for subject in ("alice", "bob"):
            announcer.tell(Caller(alice.tenant, subject), "k_7", ["c_1"], is_online=True)
        await announcer.tell_now()
        await eventually(lambda: subscriptions.outbox, what="it is heard")
        (item,) = subscriptions.outbox.take(1_000_000)
        assert not isinstance(item, bytes)
        for encoder in ENCODERS.values():
            assert len(item.payloads(encoder)) == 2
            assert item.wire(encoder) == b"".join(map(encoder.frame, item.payloads(encoder)))
