"""Many writers, many messages, many pages: nothing is lost, doubled or reordered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

WRITERS = 100
MESSAGES = 1_000
A_TENTH = MESSAGES // 10


async def send_pipelined(
    client: WireClient, conversation: str, count: int, *, first: int = 0, label: str = "m"
) -> list[dict[str, object]]:
    """Send messages without waiting between them; return their replies in order."""
    requests = [
        await client.start(
            "send_message",
            conversation_id=conversation,
            client_message_id=f"{label}{n}",
            content=f"message {n}",
            agent=None,
        )
        for n in range(first, first + count)
    ]
    return [await client.reply_to(request, within_s=30) for request in requests]


async def test_a_hundred_concurrent_writers_number_without_gap(
    replicas: Replicas, dial: Dialler
) -> None:
    """100 sockets on two replicas write at once: `seq` 1..N, offsets 1..M, the same for all."""
    owner = await dial(replicas[0])
    await owner.connect()
    subjects = [f"writer{n}" for n in range(10)]
    conversation = await owner.create(participants=subjects)
    writers = await asyncio.gather(
        *(dial(replicas[n % 2], subjects[n % 10]) for n in range(WRITERS))
    )

    async def write(number: int) -> list[dict[str, object]]:
        return [
            await writers[number].say(
                conversation, f"{number}:{turn}", client_message_id=f"w{number}-{turn}"
            )
            for turn in range(3)
        ]

    replies = [
        reply for each in await asyncio.gather(*map(write, range(WRITERS))) for reply in each
    ]
    assert not any(reply["duplicate"] for reply in replies)
    last = max(reply["offset"] for reply in replies)
    offsets = sorted(reply["offset"] for reply in replies)
    assert offsets == list(range(offsets[0], offsets[0] + 3 * WRITERS))
    history = await owner.history(conversation, limit=200)
    assert [m["seq"] for m in history] == list(range(1, 3 * WRITERS + 1))
    for number in range(WRITERS):
        own = [m["content"] for m in history if m["content"].startswith(f"{number}:")]
        assert own == [f"{number}:{turn}" for turn in range(3)]
    await owner.heard(conversation, last)
    assert [m["message_id"] for m in owner.log(conversation).messages] == [
        m["message_id"] for m in history
    ]
    for writer in writers[::17]:
        await writer.heard(conversation, last)
        told = [m["message_id"] for m in writer.log(conversation).messages]
        assert told == [m["message_id"] for m in history][-len(told) :]


async def test_a_thousand_messages_arrive_without_loss(replicas: Replicas, dial: Dialler) -> None:
    """One sender, one reader on another replica: 1,000 events, each once, in order."""
    sender, reader = await dial(replicas[0]), await dial(replicas[1], "bob")
    conversation = await sender.create(participants=["bob"])
    await reader.request("join_conversation", conversation_id=conversation)
    await reader.live(conversation)
    replies = await send_pipelined(sender, conversation, MESSAGES)
    await reader.heard(conversation, replies[-1]["offset"], within_s=30)
    await sender.heard(conversation, replies[-1]["offset"], within_s=30)
    expected = [f"message {n}" for n in range(MESSAGES)]
    assert [m["content"] for m in reader.log(conversation).messages] == expected
    assert [m["content"] for m in sender.log(conversation).messages] == expected


async def test_a_thousand_messages_reach_a_reader_whose_network_keeps_failing(
    replicas: Replicas, dial: Dialler
) -> None:
    """The reader is cut off again and again, on alternate replicas; it still hears each once."""
    sender = await dial(replicas[0])
    await sender.connect()
    conversation = await sender.create(participants=["bob"])

    async with Proxy(replicas[0].port) as first, Proxy(replicas[1].port) as second:
        roads = (first, second)
        reader = await dial(first, "bob")
        await reader.connect()
        await reader.request("join_conversation", conversation_id=conversation)
        log = reader.log(conversation)
        for cuts, sent in enumerate(range(0, MESSAGES, A_TENTH)):
            sending = asyncio.create_task(send_pipelined(sender, conversation, A_TENTH, first=sent))
            await reader.heard(conversation, (log.offset or 0) + A_TENTH // 2)
            await roads[cuts % 2].cut(reset=cuts % 3 != 0)
            await reader.closed()
            successor = await dial(roads[(cuts + 1) % 2], "bob")
            await successor.restore(reader)
            reader, log = successor, successor.log(conversation)
            replies = await sending
        await reader.heard(conversation, replies[-1]["offset"])
    expected = [f"message {n}" for n in range(MESSAGES)]
    assert [m["content"] for m in reader.log(conversation).messages] == expected


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_pagination_walks_the_whole_history_both_ways(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """Pages by `before` and by `after` hold every message once; `has_more` ends the walk."""
    alice = await dial(replicas[0], codec=codec)
    conversation = await alice.create()
    await send_pipelined(alice, conversation, 457)
    backwards = await alice.history(conversation, limit=200)
    assert [m["seq"] for m in backwards] == list(range(1, 458))

    forwards, after, pages = [], 0, 0
    while True:
        page = await alice.request(
            "get_conversation_history", conversation_id=conversation, after=after, limit=100
        )
        forwards += page["messages"]
        pages += 1
        if not page["has_more"]:
            break
        after = page["messages"][-1]["seq"]
    assert forwards == backwards
    assert pages == 5


async def test_page_edges(replicas: Replicas, dial: Dialler) -> None:
    """The default page is 50; edges are exclusive; beyond the ends there is nothing."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    ask = "get_conversation_history"
    empty = await alice.request(ask, conversation_id=conversation)
    assert (empty["messages"], empty["has_more"]) == ([], False)
    replies = await send_pipelined(alice, conversation, 60)

    async def page(**fields: object) -> tuple[list[int], bool]:
        reply = await alice.request(ask, conversation_id=conversation, **fields)
        assert reply["position"]["offset"] == replies[-1]["offset"]
        return [m["seq"] for m in reply["messages"]], reply["has_more"]

    assert await page() == (list(range(11, 61)), True)
    assert await page(limit=60) == (list(range(1, 61)), False)
    assert await page(limit=1) == ([60], True)
    assert await page(before=11, limit=10) == (list(range(1, 11)), False)
    assert await page(before=12, limit=10) == (list(range(2, 12)), True)
    assert await page(before=1) == ([], False)
    assert await page(before=1000, limit=2) == ([59, 60], True)
    assert await page(after=58) == ([59, 60], False)
    assert await page(after=50, limit=10) == (list(range(51, 61)), False)
    assert await page(after=49, limit=10) == (list(range(50, 60)), True)
    assert await page(after=60) == ([], False)
    assert await page(after=1000) == ([], False)


async def test_conversations_are_listed_page_by_page(replicas: Replicas, dial: Dialler) -> None:
    """`list_conversations` finds each of the caller's conversations once."""
    alice = await dial(replicas[0])
    made = [await alice.create(title=f"number {n}") for n in range(25)]
    found: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = await alice.request("list_conversations", limit=10, **before)
        found += [entry["conversation_id"] for entry in page["conversations"]]
        if not page["has_more"]:
            break
        before = {"before": found[-1]}
    assert sorted(found) == sorted(made)
    assert len(found) == 25


async def test_content_near_its_limit_is_kept_whole(replicas: Replicas, dial: Dialler) -> None:
    """64 KiB of text come back as they were, at the sender, a reader and in the history."""
    alice, bob = await dial(replicas[0]), await dial(replicas[1], "bob", codec="msgpack")
    conversation = await alice.create(participants=["bob"])
    await bob.request("join_conversation", conversation_id=conversation)
    limit = alice.hello["limits"]["max_content_bytes"]
    content = "é" * (limit // 2 - 8)
    said = await alice.say(conversation, content)
    await bob.heard(conversation, said["offset"])
    assert bob.log(conversation).messages[-1]["content"] == content
    assert (await alice.history(conversation))[-1]["content"] == content
    error = await alice.refusal(
        "send_message",
        conversation_id=conversation,
        client_message_id="big",
        content="x" * (limit + 1),
        agent=None,
    )
    assert (error["code"], error["retryable"]) == ("too_large", False)
    assert "$.content" in error["message"]
    assert len(await alice.history(conversation)) == 1
