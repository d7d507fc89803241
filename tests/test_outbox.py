"""What waits to be sent: bounded, in order, and honest about its room."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.json_text import JsonText
from gateway.outbox import Outbox
from gateway.published import Published


class Full:
    """Counts how often an outbox said that it is full."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        """Count."""
        self.count += 1


def outbox(max_bytes: int = 100) -> tuple[Outbox, Full]:
    """Return an outbox and what it calls when full."""
    full = Full()
    return Outbox(max_bytes, on_full=full), full


async def test_frames_are_taken_in_the_order_they_were_put() -> None:
    """All at once."""
    box, _ = outbox()
    for frame in ("a", b"b", "c"):
        box.put(frame)
    assert await box.take() == ["a", b"b", "c"]


async def test_take_waits_for_a_frame() -> None:
    """It is never empty but at the end."""
    box, _ = outbox()
    taking = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    assert not taking.done()
    box.put("a")
    assert await taking == ["a"]


async def test_a_full_outbox_says_so_once_and_takes_nothing_more() -> None:
    """Not even what would fit: the order would have a hole."""
    box, full = outbox(100)
    box.put("x" * 50)
    box.put("y" * 40)
    box.put("too long, this")
    box.put("z")
    assert full.count == 1
    assert await box.take() == ["x" * 50, "y" * 40]
    box.sent("x" * 50)
    box.sent("y" * 40)
    box.put("z")
    assert box.waiting_bytes == 0


async def test_a_frame_larger_than_the_outbox_passes_and_leaves_room() -> None:
    """Else it, and what follows it, could never be sent; two of them fill it."""
    box, full = outbox(100)
    box.put("before")
    box.put("x" * 500)
    box.put("y" * 40)
    assert full.count == 0
    box.put("x" * 500)
    assert full.count == 1
    box.sent("before")
    box.sent("x" * 500)
    box.sent("y" * 40)
    assert box.waiting_bytes == 0


async def test_frames_taken_count_until_they_were_sent() -> None:
    """What the socket holds is memory too."""
    box, full = outbox(100)
    box.put("x" * 40)
    (frame,) = await box.take()
    assert box.waiting_bytes == 40
    box.put("y" * 45)
    box.put("z" * 45)
    assert full.count == 1
    box.sent("y" * 45)
    box.sent(frame)
    assert box.waiting_bytes == 0


async def test_a_replay_has_room_while_at_most_half_is_taken() -> None:
    """So that live events still fit while it waits."""
    box, _ = outbox(100)
    assert box.room_bytes == 50
    box.put("x" * 50)
    assert (box.has_room, box.room_bytes) == (True, 0)
    box.put("y")
    assert not box.has_room
    waiting = asyncio.create_task(box.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    await box.take()
    box.sent("y")
    await waiting


async def test_finish_lets_what_waits_and_a_last_frame_out() -> None:
    """And nothing after."""
    box, _ = outbox()
    box.put("a")
    box.finish("bye")
    box.put("b")
    box.finish("again")
    assert await box.take() == ["a", "bye"]
    assert await box.take() == []
    assert box.is_finished


async def test_finish_with_drop_lets_only_the_last_frame_out() -> None:
    """What a slow consumer did not take is not kept for it."""
    box, _ = outbox()
    box.put("a")
    box.finish("bye", drop=True)
    assert await box.take() == ["bye"]


async def test_the_last_frame_goes_out_of_a_full_outbox() -> None:
    """A slow consumer is told why."""
    box, _ = outbox(10)
    for frame in ("x" * 5, "x" * 5, "y"):
        box.put(frame)
    box.finish("bye", drop=True)
    assert await box.take() == ["bye"]


async def test_what_was_taken_before_a_drop_may_still_be_reported_sent() -> None:
    """The count does not fall below nothing."""
    box, _ = outbox()
    box.put("a" * 50)
    await box.take()
    box.finish("bye", drop=True)
    box.sent("a" * 50)
    assert box.waiting_bytes == 0


async def test_finish_wakes_whoever_waits() -> None:
    """A writer for frames, a replay for room."""
    box, _ = outbox(10)
    taking = asyncio.create_task(box.take())
    await asyncio.sleep(0)
    box.finish()
    assert await taking == []
    full, _ = outbox(10)
    full.put("x" * 5)
    full.put("y")
    waiting = asyncio.create_task(full.room())
    await asyncio.sleep(0)
    full.finish()
    await waiting


SIZES = st.integers(1, 50)
STEPS = st.lists(st.tuples(st.just("put"), SIZES) | st.tuples(st.just("send"), st.just(0)))


@given(STEPS)
def test_waiting_bytes_are_those_put_and_not_sent(steps: list[tuple[str, int]]) -> None:
    """Whatever the order of putting and sending; never more than the bound."""

    async def run() -> None:
        box, full = outbox(100)
        expected: list[str] = []
        in_hand: list[str] = []
        for step, size in steps:
            if step == "put":
                was_full = full.count
                box.put("x" * size)
                if full.count == was_full == 0:
                    expected.append("x" * size)
            elif expected:
                if not in_hand:
                    in_hand = [str(frame) for frame in await box.take()]
                box.sent(in_hand.pop(0))
                expected.pop(0)
            assert box.waiting_bytes == sum(map(len, expected)) <= 100
            assert box.has_room == (box.waiting_bytes * 2 <= 100)

    asyncio.run(run())


def delta(offset: int, text: str, message_id: str = "m_1") -> Published:
    """Return a piece of a reply, as a run's worker writes it."""
    event = {"type": "TEXT_MESSAGE_CONTENT", "messageId": message_id, "delta": text}
    return Published("c_1", "x", offset, JsonText.of(event))


def received(items: list[Published]) -> list[tuple[int, int, str]]:
    """Return from which to which offset each frame goes, and its text."""
    frames = [msgspec.json.decode(item.frame("json")) for item in items]
    return [
        (frame.get("from_offset", frame["offset"]), frame["offset"], frame["event"]["delta"])
        for frame in frames
    ]


async def test_text_of_one_message_is_merged_when_more_than_half_is_taken() -> None:
    """A slow client gets fewer, larger pieces; the text is the same."""
    box, full = outbox(1_000)
    for offset in range(1, 41):
        box.put_live(delta(offset, f"{offset} é\\"))
    assert full.count == 0
    got = received(await box.take())
    assert len(got) < 10
    assert "".join(text for _, _, text in got) == "".join(f"{n} é\\" for n in range(1, 41))
    assert [first for first, _, _ in got][1:] == [last + 1 for _, last, _ in got][:-1]


async def test_text_is_not_merged_while_there_is_room() -> None:
    """A client that keeps up sees the pieces as they came."""
    box, _ = outbox(100_000)
    box.put_live(delta(1, "a"))
    box.put_live(delta(2, "b"))
    assert received(await box.take()) == [(1, 1, "a"), (2, 2, "b")]


@pytest.mark.parametrize(
    "other",
    [delta(3, "b"), delta(2, "b", "m_2"), Published("c_2", "x", 2, delta(2, "b").event)],
    ids=["gap", "another message", "another conversation"],
)
def test_what_does_not_follow_is_not_merged(other: Published) -> None:
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
    assert received([merged]) == [(1, len(pieces), "".join(pieces))]
