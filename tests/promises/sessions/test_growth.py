"""What one subject can leave behind is bounded, for itself, for others and in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.receiving import SocketEnded
from tests.support.store_view import StoreView
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.wire import Message, WireClient


async def pages(client: WireClient, **fields: object) -> list[Message]:
    """Return all pages of the list of conversations, as a client reads them."""
    found = [await client.request("list_conversations", **fields)]
    while found[-1]["has_more"]:
        before = found[-1]["conversations"][-1]["conversation_id"]
        found.append(await client.request("list_conversations", before=before, **fields))
    return found


async def test_metadata_is_bounded_and_named(in_process: InProcess, dial: Dialler) -> None:
    """It is stored with the conversation and told in every line of a list."""
    gateway = await in_process(max_metadata_bytes=2_000)
    alice = await dial(gateway)
    await alice.create(metadata={"a": "x" * 1_900})
    error = await alice.refusal("create_conversation", metadata={"a": "x" * 2_000})
    assert (error["code"], error["message"]) == ("too_large", "$.metadata: exceeds 2000 bytes")


async def test_list_is_bounded_in_bytes_and_goes_on(in_process: InProcess, dial: Dialler) -> None:
    """A page ends early, with `has_more`; together they have each conversation once, in order."""
    gateway = await in_process()
    alice = await dial(gateway)
    made = [await alice.create(metadata={"a": "x" * 16_000}) for _ in range(40)]
    found = await pages(alice, limit=200)
    listed = [each["conversation_id"] for page in found for each in page["conversations"]]
    assert listed == made[::-1]
    assert len(found) == 3
    for page in found:
        assert sum(len(each["metadata"]["a"]) for each in page["conversations"]) <= 262_144


async def test_list_shows_a_line_that_is_larger_than_a_page(
    in_process: InProcess, dial: Dialler
) -> None:
    """Alone on its page: what was made before there was a limit blocks nobody's list."""
    gateway = await in_process(max_metadata_bytes=200_000)
    small = await in_process(max_frame_bytes=65_536)
    alice = await dial(gateway)
    made = [await alice.create(metadata={"a": "x" * 150_000}) for _ in range(3)]
    found = await pages(await dial(small))
    assert [[c["conversation_id"] for c in page["conversations"]] for page in found] == [
        [each] for each in made[::-1]
    ]


async def test_subject_adds_so_many_others_an_hour(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Then it is told when it goes on, and no key is made for anybody; roles still change."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, added_per_hour=30)
    alice = await dial(gateway)
    conversation = await alice.create(participants=[f"u{n}" for n in range(20)])
    refused = await alice.refusal("create_conversation", participants=[f"v{n}" for n in range(20)])
    assert (refused["code"], refused["retryable"]) == ("rate_limited", True)
    assert "$.participants" in refused["message"]
    assert "30" in refused["message"]
    assert 0 < refused["retry_after_ms"] <= 3_600_000
    for n in range(10):
        await alice.request("add_participant", conversation_id=conversation, subject=f"w{n}")
    late = {"conversation_id": conversation, "subject": "late"}
    assert (await alice.refusal("add_participant", **late))["code"] == "rate_limited"
    await alice.request(
        "add_participant", conversation_id=conversation, subject="u1", role="observer"
    )
    assert len(await StoreView(redis).keys("*:conversations")) == 31


async def test_list_of_a_stranger_is_half_their_own(in_process: InProcess, dial: Dialler) -> None:
    """Others fill no more than half of it, so that there is room for what its owner does."""
    gateway = await in_process(max_conversations_per_subject=6)
    one, two = await dial(gateway, "one"), await dial(gateway, "two")
    made = [await client.create() for client in (one, two) for _ in range(3)]
    for conversation in made[:3]:
        await one.request("add_participant", conversation_id=conversation, subject="victim")
    full = await two.refusal("add_participant", conversation_id=made[3], subject="victim")
    assert (full["code"], full["message"][:9]) == ("too_large", "$.subject")
    victim = await dial(gateway, "victim")
    for _ in range(3):
        await victim.create()
    error = await victim.refusal("create_conversation")
    assert error["code"] == "too_large"
    await victim.request("leave_conversation", conversation_id=made[0])
    await victim.create()


@pytest.mark.parametrize("how", ["create_conversation", "send_message"])
async def test_subject_creates_so_many_conversations_an_hour(
    in_process: InProcess, dial: Dialler, how: str
) -> None:
    """By name or with a first message; a retry counts once, another subject is not touched."""
    gateway = await in_process(created_per_hour=3)
    alice = await dial(gateway)
    for n in range(3):
        for _ in range(2):
            if how == "create_conversation":
                await alice.create(conversation_id=f"c_{n}")
            else:
                await alice.request(
                    "send_message", client_message_id=f"m{n}", content="x", agent=None
                )
    refused = await alice.refusal("create_conversation")
    assert refused["code"] == "rate_limited"
    assert refused["retry_after_ms"] > 0
    first = {"client_message_id": "m9", "content": "x", "agent": None}
    assert (await alice.refusal("send_message", **first))["code"] == "rate_limited"
    await (await dial(gateway, "bob")).create()


async def test_guesses_at_ids_count_as_creations(in_process: InProcess, dial: Dialler) -> None:
    """And leave no line on the guesser's list."""
    gateway = await in_process(created_per_hour=5)
    alice, eve = await dial(gateway), await dial(gateway, "eve")
    for n in range(5):
        await alice.create(conversation_id=f"c_{n}")
    codes = [
        (await eve.refusal("create_conversation", conversation_id=f"c_{n % 5}"))["code"]
        for n in range(6)
    ]
    assert codes == ["forbidden"] * 5 + ["rate_limited"]
    assert (await eve.request("list_conversations"))["conversations"] == []


async def test_tenant_creates_so_many_conversations_an_hour(
    in_process: InProcess, dial: Dialler
) -> None:
    """All its subjects together; another tenant is not touched."""
    gateway = await in_process(tenant_created_per_hour=3)
    clients = [await dial(gateway, name) for name in ("a", "b", "c", "d")]
    for client in clients[:3]:
        await client.create()
    error = await clients[3].refusal("create_conversation")
    assert (error["code"], "tenant" in error["message"]) == ("rate_limited", True)
    assert (await clients[3].request("list_conversations"))["conversations"] == []
    await (await dial(gateway, tenant=f"{dial.tenant}-other")).create()


async def test_conversation_has_so_many_participants(in_process: InProcess, dial: Dialler) -> None:
    """However they come in: named at the beginning, added, by the open door, with an invite."""
    gateway = await in_process(max_participants=3)
    alice, bob, eve = [await dial(gateway, name) for name in ("alice", "bob", "eve")]
    error = await alice.refusal("create_conversation", participants=["a", "b", "c"])
    assert (error["code"], error["message"][:14]) == ("too_large", "$.participants")
    conversation = await alice.create(participants=["x"], visibility="open")
    where = {"conversation_id": conversation}
    code = (await alice.request("create_invite", **where))["invite"]
    await bob.request("join_conversation", **where)
    for refused in (
        await eve.refusal("join_conversation", **where),
        await eve.refusal("join_conversation", invite=code),
        await alice.refusal("add_participant", **where, subject="eve"),
    ):
        assert refused["code"] == "too_large"
        assert "3" in refused["message"]
    assert (await eve.request("list_conversations"))["conversations"] == []
    await bob.request("join_conversation", **where)
    await alice.request("remove_participant", **where, subject="x")
    await eve.request("join_conversation", invite=code)


async def test_subject_opens_so_many_sessions(in_process: InProcess, dial: Dialler) -> None:
    """In a session's lifetime; those that it has are resumed all the same."""
    gateway = await in_process(max_sessions_per_subject=3, session_ttl_s=60)
    opened = [await dial(gateway) for _ in range(3)]
    for client in opened:
        await client.connect()
    fourth = await dial(gateway)
    error = await fourth.refusal("connect")
    assert error["code"] == "rate_limited"
    assert 0 < error["retry_after_ms"] <= 60_000
    assert (await fourth.refusal("list_conversations"))["retryable"] is True
    assert (await fourth.restore(opened[0]))["resumed"] is True
    await (await dial(gateway, "bob")).connect()


async def test_refused_participants_leave_no_keys(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """A conversation that cannot be created puts nothing on the lists of those it names."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url)
    alice, eve = await dial(gateway), await dial(gateway, "eve")
    taken = await alice.create()
    named = [f"u{n}" for n in range(150)]
    for _ in range(2):
        with pytest.raises((RefusedRequest, SocketEnded)):
            await eve.create(conversation_id=taken, participants=named)
    assert len(await StoreView(redis).keys("*:conversations")) == 1


async def test_subject_fills_redis_only_so_fast(in_process: InProcess, dial: Dialler) -> None:
    """Over all its connections; it still reads, others still write, and it goes on later."""
    gateway = await in_process(subject_bytes_per_hour=100_000)
    alice, again, bob = await dial(gateway), await dial(gateway), await dial(gateway, "bob")
    conversation = await alice.create(visibility="open")
    await again.request("join_conversation", conversation_id=conversation)
    for _ in range(12):
        await alice.say(conversation, "x" * 10_000)

    async def is_refused() -> bool:
        try:
            await again.say(conversation, "one more")
        except RefusedRequest as refused:
            assert (refused.code, "100000" in refused.message) == ("rate_limited", True)
            assert 0 < refused.error["retry_after_ms"] <= 3_600_000
            return True
        return False

    await eventually(is_refused, what="no more is taken")
    assert (await alice.refusal("create_conversation"))["code"] == "rate_limited"
    assert len(await alice.history(conversation)) >= 12
    await bob.request("join_conversation", conversation_id=conversation)
    await bob.say(conversation, "hello")
    gateway.clock.advance(1_800)

    async def goes_on() -> bool:
        return not await is_refused()

    await eventually(goes_on, what="it is taken again")
