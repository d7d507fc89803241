"""Messages in Redis: accepted once, numbered without gaps, paged, edited, deleted, found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from gateway.errors import Conflict, Forbidden, NotFound
from gateway.identity.caller import Caller
from gateway.protocol.ids import random_id
from gateway.protocol.messages import Position
from gateway.store.messages import Draft, Message, Page
from gateway.tasks import together
from tests.support.stores import draft, make, opened, say
from tests.unit.protocol.test_json_values import JSON

if TYPE_CHECKING:
    from gateway.store.store import Store
    from tests.support.redis_node import RedisNode


def seqs(page: Page) -> list[int]:
    """Return the numbers of a page's messages."""
    return [item.value()["seq"] for item in page.messages]


async def test_a_message_is_stored_and_published_in_one_step(
    gateway_store: Store, alice: Caller
) -> None:
    """The history and the log hold the same text."""
    await make(gateway_store, alice, "c_1")
    accepted = await say(gateway_store, alice, "c_1", "client-1", "hello ä")
    assert (accepted.seq, accepted.position.offset, accepted.is_duplicate) == (1, 3, False)
    page = await gateway_store.messages.page(alice, "c_1", limit=10)
    before = Position(accepted.position.epoch, 2)
    cut = await gateway_store.log.read(alice, "c_1", before)
    assert cut.events[0].event.value() == {
        "type": "MESSAGE_CREATED",
        "message": page.messages[0].value(),
    }
    message = msgspec.json.decode(page.messages[0].data, type=Message)
    assert (message.author, message.role, message.content) == ("alice", "user", "hello ä")
    assert (message.client_message_id, message.message_id) == ("client-1", "m_client-1")
    assert page.position == accepted.position


async def test_one_hundred_senders_at_once_are_numbered_without_a_gap(
    gateway_store: Store, redis_server: RedisNode, alice: Caller
) -> None:
    """From two replicas; offsets too, in the same order."""
    names = [f"s{n}" for n in range(100)]
    await make(gateway_store, alice, "c_1", participants=names)
    async with opened(redis_server.url) as other:
        found = await together(
            say((gateway_store, other)[n % 2], Caller(alice.tenant, name), "c_1", name)
            for n, name in enumerate(names)
        )
    by_seq = sorted(found, key=lambda item: item.seq)
    assert [item.seq for item in by_seq] == list(range(1, 101))
    assert [item.position.offset for item in by_seq] == list(range(103, 203))
    page = await gateway_store.messages.page(alice, "c_1", limit=200)
    assert seqs(page) == list(range(1, 101))


async def test_a_duplicate_gets_the_first_result(gateway_store: Store, alice: Caller) -> None:
    """At once with the first, or later; parts with their keys in another order are the same."""
    await make(gateway_store, alice, "c_1")
    parts = [{"type": "text", "text": "x"}]
    both = await together(say(gateway_store, alice, "c_1", "1", parts) for _ in range(5))
    assert sum(not item.is_duplicate for item in both) == 1
    await say(gateway_store, alice, "c_1", "2")
    again = await say(gateway_store, alice, "c_1", "1", [{"text": "x", "type": "text"}])
    assert (again.is_duplicate, again.seq, again.position) == (True, 1, both[0].position)
    with pytest.raises(Conflict, match="client_message_id"):
        await say(gateway_store, alice, "c_1", "1", "other")
    assert seqs(await gateway_store.messages.page(alice, "c_1", limit=9)) == [1, 2]


async def test_a_duplicate_is_known_after_edit_and_deletion(
    gateway_store: Store, alice: Caller
) -> None:
    """By what was sent, not by what it became."""
    await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1", "1", "one")
    await gateway_store.messages.edit(alice, "c_1", "m_1", "two", now=1.0)
    assert (await say(gateway_store, alice, "c_1", "1", "one")).is_duplicate
    await gateway_store.messages.delete(alice, "c_1", "m_1")
    assert (await say(gateway_store, alice, "c_1", "1", "one")).is_duplicate
    with pytest.raises(Conflict):
        await say(gateway_store, alice, "c_1", "1", "two")


async def test_a_first_message_creates_its_conversation_once(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """Only where that is asked for, and not into another's."""
    first = draft("c_new", may_create=True)
    made = await together(gateway_store.messages.send(alice, first) for _ in range(3))
    assert sorted(item.is_duplicate for item in made) == [False, True, True]
    described = await gateway_store.conversations.describe(alice, "c_new")
    assert (described.title, described.role, described.visibility) == (None, "owner", "private")
    with pytest.raises(NotFound):
        await gateway_store.messages.send(bob, draft("c_new", "2", may_create=True))
    with pytest.raises(NotFound):
        await gateway_store.messages.send(alice, draft("c_none"))


async def test_messages_sent_together_are_accepted_in_order(
    gateway_store: Store, alice: Caller
) -> None:
    """One after the other in history and log, each with an answer of its own."""
    await make(gateway_store, alice, "c_1")
    drafts = [draft("c_1", str(n), f"text {n}") for n in range(40)]
    found = await gateway_store.messages.send_many(alice, "c_1", drafts)
    assert [item.seq for item in found] == list(range(1, 41))
    assert [item.position.offset for item in found] == list(range(3, 43))
    page = await gateway_store.messages.page(alice, "c_1", limit=50)
    assert [item.value()["content"] for item in page.messages] == [f"text {n}" for n in range(40)]
    cut = await gateway_store.log.read(alice, "c_1", Position(found[0].position.epoch, 2))
    assert [event.event.value()["message"]["seq"] for event in cut.events] == list(range(1, 41))
    assert cut.events[-1].offset == 42


async def test_a_batch_that_is_repeated_is_accepted_once(
    gateway_store: Store, alice: Caller
) -> None:
    """Also in part, with one twice in it, and with one whose content is another."""
    await make(gateway_store, alice, "c_1")
    first = [draft("c_1", str(n)) for n in range(3)]
    told = await gateway_store.messages.send_many(alice, "c_1", first)
    again = await gateway_store.messages.send_many(alice, "c_1", first)
    assert [(item.position, item.seq) for item in again] == [
        (item.position, item.seq) for item in told
    ]
    assert all(item.is_duplicate for item in again)
    mixed = [first[2], draft("c_1", "1", "other"), draft("c_1", "9"), draft("c_1", "9")]
    found = await gateway_store.messages.send_many(alice, "c_1", mixed)
    assert isinstance(found[1], Conflict)
    assert (found[0].seq, found[2].seq, found[3].seq) == (3, 4, 4)
    assert [item.is_duplicate for item in (found[0], found[2], found[3])] == [True, False, True]
    assert seqs(await gateway_store.messages.page(alice, "c_1", limit=9)) == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 3])
async def test_who_may_not_send_is_told_for_each_message(
    gateway_store: Store, alice: Caller, bob: Caller, count: int
) -> None:
    """A stranger, and an observer who may be told what they sent before they were one."""
    await make(gateway_store, alice, "c_1", participants=["bob"])
    drafts = [draft("c_1", str(n)) for n in range(count)]
    stranger = Caller(alice.tenant, "carol")
    found = await gateway_store.messages.send_many(stranger, "c_1", drafts)
    assert [type(item) for item in found] == [NotFound] * count
    found = await gateway_store.messages.send_many(alice, "c_none", drafts)
    assert [type(item) for item in found] == [NotFound] * count
    await gateway_store.messages.send(bob, draft("c_1", "0"))
    await gateway_store.conversations.set_member(alice, "c_1", "bob", "observer")
    first, *others = await gateway_store.messages.send_many(bob, "c_1", drafts)
    assert first.is_duplicate
    assert [type(item) for item in others] == [Forbidden] * (count - 1)


async def test_an_observer_only_reads(gateway_store: Store, alice: Caller, bob: Caller) -> None:
    """Neither messages nor the context may they write."""
    await make(gateway_store, alice, "c_1")
    await gateway_store.conversations.set_member(alice, "c_1", "bob", "observer")
    with pytest.raises(Forbidden):
        await say(gateway_store, bob, "c_1")
    assert seqs(await gateway_store.messages.page(bob, "c_1", limit=1)) == []


@pytest.mark.parametrize(
    ("ask", "expected", "has_more"),
    [
        ({"limit": 3}, [8, 9, 10], True),
        ({"limit": 10}, list(range(1, 11)), False),
        ({"limit": 99}, list(range(1, 11)), False),
        ({"limit": 3, "before": 8}, [5, 6, 7], True),
        ({"limit": 3, "before": 4}, [1, 2, 3], False),
        ({"limit": 3, "before": 1}, [], False),
        ({"limit": 3, "before": 0}, [], False),
        ({"limit": 3, "before": 99}, [8, 9, 10], True),
        ({"limit": 3, "after": 0}, [1, 2, 3], True),
        ({"limit": 3, "after": 7}, [8, 9, 10], False),
        ({"limit": 3, "after": 10}, [], False),
        ({"limit": 3, "after": 2**53}, [], False),
    ],
    ids=str,
)
async def test_pages(
    gateway_store: Store,
    alice: Caller,
    ask: dict[str, int],
    expected: list[int],
    has_more: bool,
) -> None:
    """Oldest first, whichever way one goes."""
    await make(gateway_store, alice, "c_1")
    await together(say(gateway_store, alice, "c_1", str(n)) for n in range(10))
    page = await gateway_store.messages.page(alice, "c_1", **ask)
    assert (seqs(page), page.has_more) == (expected, has_more)


async def test_only_its_author_edits_a_message(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """It keeps its place, its number and what else it is."""
    await make(gateway_store, alice, "c_1", participants=["bob"])
    await say(gateway_store, bob, "c_1", "1", "tpyo")
    with pytest.raises(Forbidden):
        await gateway_store.messages.edit(alice, "c_1", "m_1", "x", now=1.0)
    edited = await gateway_store.messages.edit(bob, "c_1", "m_1", [{"text": "typo"}], now=7.5)
    assert edited.value()["content"] == [{"text": "typo"}]
    assert edited.value()["edited_at"] == 7.5
    page = await gateway_store.messages.page(alice, "c_1", limit=5)
    assert page.messages == [edited]
    with pytest.raises(NotFound):
        await gateway_store.messages.edit(bob, "c_1", "m_none", "x", now=1.0)


async def test_edits_at_once_all_come_to_the_same_in_history_and_log(
    gateway_store: Store, alice: Caller
) -> None:
    """The last event is what the history holds."""
    await make(gateway_store, alice, "c_1")
    at = (await say(gateway_store, alice, "c_1")).position
    done = await together(_edit(gateway_store, alice, f"text {n}") for n in range(3))
    assert any(done)
    cut = await gateway_store.log.read(alice, "c_1", at)
    page = await gateway_store.messages.page(alice, "c_1", limit=5)
    assert len(cut.events) == sum(done)
    assert cut.events[-1].event.value()["message"] == page.messages[0].value()


async def _edit(store: Store, caller: Caller, content: str) -> bool:
    try:
        await store.messages.edit(caller, "c_1", "m_1", content, now=1.0)
    except Conflict:
        return False
    return True


async def test_author_and_owner_delete_a_message_and_others_do_not(
    gateway_store: Store, alice: Caller, bob: Caller
) -> None:
    """What is deleted is gone from pages; the numbers of others stay."""
    await make(gateway_store, alice, "c_1", participants=["bob", "carol"])
    for n, caller in enumerate((alice, bob, bob, alice)):
        await say(gateway_store, caller, "c_1", str(n))
    for message_id in ("m_0", "m_1"):
        with pytest.raises(Forbidden):
            await gateway_store.messages.delete(Caller(alice.tenant, "carol"), "c_1", message_id)
    await gateway_store.messages.delete(bob, "c_1", "m_1")
    await gateway_store.messages.delete(alice, "c_1", "m_2")
    assert seqs(await gateway_store.messages.page(alice, "c_1", limit=9)) == [1, 4]
    with pytest.raises(NotFound):
        await gateway_store.messages.delete(bob, "c_1", "m_1")
    with pytest.raises(NotFound):
        await gateway_store.messages.edit(bob, "c_1", "m_1", "back", now=1.0)


@pytest.mark.parametrize("gone", [range(2, 9), range(8), range(2, 10), range(10)])
async def test_pages_pass_over_deleted_messages_in_both_directions(
    gateway_store: Store, alice: Caller, gone: range
) -> None:
    """However many lie between, paging by 2 meets each of the others once."""
    await make(gateway_store, alice, "c_1")
    for n in range(10):
        await say(gateway_store, alice, "c_1", str(n))
    for n in gone:
        await gateway_store.messages.delete(alice, "c_1", f"m_{n}")
    left = [n + 1 for n in range(10) if n not in gone]
    backward: list[int] = []
    page = await gateway_store.messages.page(alice, "c_1", limit=2)
    while page.messages:
        backward = seqs(page) + backward
        page = await gateway_store.messages.page(alice, "c_1", limit=2, before=backward[0])
    forward: list[int] = []
    page = await gateway_store.messages.page(alice, "c_1", limit=2, after=0)
    while page.messages:
        forward += seqs(page)
        page = await gateway_store.messages.page(alice, "c_1", limit=2, after=forward[-1])
    assert (backward, forward) == (left, left)


async def test_search_finds_text_in_any_case_the_newest_first(
    gateway_store: Store, alice: Caller
) -> None:
    """Also in parts, and beyond a page."""
    await make(gateway_store, alice, "c_1")
    await say(gateway_store, alice, "c_1", "first", "Straße One")
    await together(say(gateway_store, alice, "c_1", str(n), "filler") for n in range(205))
    await say(gateway_store, alice, "c_1", "last", [{"text": "two"}, {"text": "STRASSE"}, {"n": 1}])
    found = await gateway_store.messages.search(alice, "c_1", "strasse", limit=5)
    assert [item.value()["seq"] for item in found.messages] == [207, 1]
    assert found.next_seq is None
    found = await gateway_store.messages.search(alice, "c_1", "filler", limit=3)
    assert [item.value()["seq"] for item in found.messages] == [206, 205, 204]
    assert found.next_seq == 204
    found = await gateway_store.messages.search(alice, "c_1", "nowhere", limit=3)
    assert (found.messages, found.next_seq) == ([], None)


@given(content=JSON)
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_content_is_kept_as_it_was_sent(
    gateway_store: Store, alice: Caller, content: object
) -> None:
    """Spliced, never parsed, by the scripts."""
    sent = Draft("c_any", random_id("m"), "x", [{"v": content}], may_create=True)
    accepted = await gateway_store.messages.send(alice, sent)
    page = await gateway_store.messages.page(alice, "c_any", limit=1, after=accepted.seq - 1)
    assert page.messages[0].value()["content"] == [{"v": content}]
