"""What waits to be sent: bounded, in order, and honest about its room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fanout.outbox import Outbox
from gateway.protocol.batches import Batch
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.publications import Publication

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.fanout.outbox import Outgoing


ALL = 1_000_000_000


class Calls:
    """Counts how often an outbox called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Count."""
        self.count += 1


def outbox(max_bytes: int = 100) -> tuple[Outbox, Calls]:
    """Return an outbox and what it calls when full."""
    full = Calls()
    return Outbox(max_bytes, on_full=full, on_filled=Calls()), full


def test_messages_are_taken_in_the_order_they_were_put() -> None:
    """All at once."""
    box, _ = outbox()
    for item in (b"a", b"b", b"c"):
        box.put(item)
    assert box.take(ALL) == [b"a", b"b", b"c"]
    assert box.take(ALL) == []
    assert not box


def test_it_says_once_that_something_waits() -> None:
    """Whoever flushes it need not be told again before it has."""
    filled = Calls()
    box = Outbox(100, on_full=Calls(), on_filled=filled)
    box.put(b"a")
    box.put(b"b")
    assert filled.count == 1
    box.take(ALL)
    box.put(b"c")
    assert filled.count == 2
    box.finish()
    assert filled.count == 3


def test_as_much_is_taken_as_reaches_a_size() -> None:
    """In order; the rest waits and is counted."""
    box, _ = outbox(1000)
    for item in (b"a" * 40, b"b" * 40, b"c" * 40):
        box.put(item)
    assert box.take(50) == [b"a" * 40, b"b" * 40]
    assert box.waiting_bytes == 40
    assert box.take(50) == [b"c" * 40]
    assert box.waiting_bytes == 0


def test_what_cannot_wait_has_a_quarter_more_and_then_the_outbox_is_full() -> None:
    """It says so once, and takes nothing more: the order would have a hole."""
    box, full = outbox(100)
    box.put(b"x" * 50)
    box.put(b"y" * 40)
    box.put(b"z" * 35)
    assert full.count == 0
    box.put(b"more")
    box.put(b"")
    assert full.count == 1
    assert box.take(ALL) == [b"x" * 50, b"y" * 40, b"z" * 35]
    box.put(b"z")
    assert box.waiting_bytes == 0


def test_what_can_wait_or_be_left_out_is_not_taken_beyond_the_bound() -> None:
    """And nobody is a slow consumer for it."""
    box, full = outbox(100)
    box.put(b"x" * 40)
    assert box.put_if_it_fits(b"y" * 40)
    assert box.put_if_it_fits(b"y" * 20)
    assert not box.put_if_it_fits(b"y")
    assert box.waiting_bytes == 100
    assert full.count == 0
    box.finish()
    assert box.put_if_it_fits(b"y"), "all is over: nobody need wait"
    assert box.waiting_bytes == 100


def test_of_live_events_those_without_room_are_left() -> None:
    """They are in the log: the reader takes them from there."""
    one = Publication("c_1", "x", 1, JsonText(b'{"type":"A"}'))
    box, full = outbox(5 * one.size)
    events = [Publication("c_1", "x", n, one.event) for n in range(1, 9)]
    assert box.put_live(Batch(events)) == 5
    assert box.put_live(Batch(events[5:])) == 0
    assert full.count == 0
    box.take(ALL)
    assert box.put_live(Batch(events[5:7])) == 2
    box.finish()
    assert box.put_live(Batch(events)) == 8, "all is over: nobody falls behind"


def test_a_message_larger_than_the_outbox_passes_and_leaves_room() -> None:
    """Else it, and what follows it, could never be sent; two of them fill it."""
    box, full = outbox(100)
    box.put(b"before")
    box.put(b"x" * 500)
    box.put(b"y" * 40)
    assert full.count == 0
    box.put(b"x" * 500)
    assert full.count == 1
    assert box.take(ALL) == [b"before", b"x" * 500, b"y" * 40]
    assert box.waiting_bytes == 0


async def test_a_replay_has_room_while_at_most_half_is_taken() -> None:
    """So that live events still fit while it waits."""
    box, _ = outbox(100)
    assert box.room_bytes == 50
    box.put(b"x" * 50)
    assert (box.has_room, box.room_bytes) == (True, 0)
    box.put(b"y")
    assert not box.has_room
    waiting = asyncio.create_task(box.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    box.take(1)
    await waiting
    assert box.has_room


def test_finish_lets_what_waits_and_a_last_message_out() -> None:
    """And nothing after."""
    box, _ = outbox()
    box.put(b"a")
    box.finish(b"bye")
    box.put(b"b")
    box.finish(b"again")
    assert box.take(ALL) == [b"a", b"bye"]
    assert box.is_finished


def test_finish_with_drop_lets_only_the_last_message_out() -> None:
    """What a slow consumer did not take is not kept for it."""
    box, _ = outbox()
    box.put(b"a")
    box.finish(b"bye", drop=True)
    assert box.take(ALL) == [b"bye"]


def test_the_last_message_goes_out_of_a_full_outbox() -> None:
    """A slow consumer is told why."""
    box, _ = outbox(10)
    for item in (b"x" * 5, b"x" * 5, b"y"):
        box.put(item)
    box.finish(b"bye", drop=True)
    assert box.take(ALL) == [b"bye"]


async def test_finish_wakes_a_replay_that_waits_for_room() -> None:
    """It is over."""
    full, _ = outbox(10)
    full.put(b"x" * 5)
    full.put(b"y")
    waiting = asyncio.create_task(full.room())
    await asyncio.sleep(0)
    full.finish()
    await waiting


STEPS = st.lists(
    st.tuples(st.just("put"), st.integers(1, 50)) | st.tuples(st.just("take"), st.integers(1, 90))
)


@given(STEPS)
def test_waiting_bytes_are_those_put_and_not_taken(steps: list[tuple[str, int]]) -> None:
    """Whatever the order of putting and taking; never more than the bound, nothing lost."""
    box, full = outbox(100)
    put: list[bytes] = []
    taken: list[bytes] = []
    for number, (step, size) in enumerate(steps):
        if step == "put":
            item = bytes((number % 256,)) * size
            box.put(item)
            if not full.count:
                put.append(item)
        else:
            taken += [item for item in box.take(size) if isinstance(item, bytes)]
        assert taken == put[: len(taken)]
        assert box.waiting_bytes == sum(map(len, put[len(taken) :])) <= 125
        assert box.has_room == (box.waiting_bytes * 2 <= 100)


def delta(offset: int, text: str, message_id: str = "m_1") -> Publication:
    """Return a piece of a reply, as a run's worker writes it."""
    event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": text}
    return Publication("c_1", "x", offset, JsonText.of(event))


def received(items: Iterable[Outgoing]) -> list[tuple[int, int, str]]:
    """Return from which to which offset each frame goes, and its text."""
    payloads = [
        payload
        for item in items
        if isinstance(item, Batch)
        for payload in item.payloads(ENCODERS["json"])
    ]
    frames = [msgspec.json.decode(payload) for payload in payloads]
    return [
        (frame.get("from_offset", frame["offset"]), frame["offset"], frame["event"]["delta"])
        for frame in frames
    ]


@pytest.mark.parametrize("at_once", [1, 3])
def test_text_of_one_message_is_merged_when_more_than_half_is_taken(at_once: int) -> None:
    """A slow client gets fewer, larger pieces; the text is the same."""
    box, full = outbox(1_000)
    for offset in range(1, 40, at_once):
        pieces = range(offset, min(offset + at_once, 40))
        box.put_live(Batch([delta(piece, f"{piece} é\\") for piece in pieces]))
    assert full.count == 0
    got = received(box.take(ALL))
    assert len(got) < 10
    assert "".join(text for _, _, text in got) == "".join(f"{n} é\\" for n in range(1, 40))
    assert [first for first, _, _ in got][1:] == [last + 1 for _, last, _ in got][:-1]


def test_merging_for_one_client_changes_nothing_for_the_others() -> None:
    """They share the batch it began with."""
    slow, _ = outbox(600)
    quick, _ = outbox(100_000)
    for offset in (1, 2, 3, 4):
        batch = Batch([delta(offset, "x" * 10)])
        slow.put_live(batch)
        quick.put_live(batch)
    assert len(received(slow.take(ALL))) < 4
    assert received(quick.take(ALL)) == [(n, n, "x" * 10) for n in (1, 2, 3, 4)]


def test_text_is_not_merged_while_there_is_room() -> None:
    """A client that keeps up sees the pieces as they came."""
    box, _ = outbox(100_000)
    box.put_live(Batch([delta(1, "a")]))
    box.put_live(Batch([delta(2, "b")]))
    assert received(box.take(ALL)) == [(1, 1, "a"), (2, 2, "b")]


@pytest.mark.parametrize(
    "other",
    [delta(3, "b"), delta(2, "b", "m_2"), Publication("c_2", "x", 2, delta(2, "b").event)],
    ids=["gap", "another message", "another conversation"],
)
def test_what_does_not_follow_is_not_merged(other: Publication) -> None:
    """Only the next piece of the same text is."""
    assert delta(1, "a").merged_with(other) is None


@given(st.lists(st.text(min_size=1), min_size=2, max_size=20))
def test_merged_text_is_the_text(pieces: list[str]) -> None:
    """Whatever is in it: quotes, backslashes, what looks like a delta."""
    merged = delta(1, pieces[0])
    for number, piece in enumerate(pieces[1:], start=2):
        found = merged.merged_with(delta(number, piece))
        assert found is not None
        merged = found
    assert received([Batch([merged])]) == [(1, len(pieces), "".join(pieces))]


async def test_what_can_wait_fits_after_room() -> None:
    """Anything fits while half is free, however large: it counts for a half."""
    box, full = outbox(100)
    assert box.put_if_it_fits(b"x" * 50)
    assert box.put_if_it_fits(b"x")
    assert not box.put_if_it_fits(b"y" * 50)
    assert box.put_if_it_fits(b"y" * 49)
    waiting = asyncio.ensure_future(box.room())
    box.take(1000)
    await waiting
    assert box.put_if_it_fits(b"y" * 1000)
    assert box.waiting_bytes == 50
    assert full.count == 0


def test_what_can_wait_need_not_when_all_is_over() -> None:
    """Nothing of it goes out after the last word."""
    box, full = outbox(100)
    box.finish(b"bye")
    assert box.put_if_it_fits(b"")
    assert box.take(100) == [b"bye"]
    assert full.count == 0
