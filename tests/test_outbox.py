"""What waits to be sent: bounded, in order, and honest about its room."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox import Outbox


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
    box.put("x" * 60)
    box.put("y" * 60)
    box.put("z")
    assert full.count == 1
    assert await box.take() == ["x" * 60]
    box.sent("x" * 60)
    box.put("z")
    assert box.waiting_bytes == 0


async def test_one_frame_larger_than_the_outbox_passes_when_it_is_alone() -> None:
    """Else it could never be sent."""
    box, full = outbox(100)
    box.put("x" * 500)
    assert full.count == 0
    box.put("y")
    assert full.count == 1


async def test_frames_taken_count_until_they_were_sent() -> None:
    """What the socket holds is memory too."""
    box, full = outbox(100)
    box.put("x" * 60)
    (frame,) = await box.take()
    assert box.waiting_bytes == 60
    box.put("y" * 60)
    assert full.count == 1
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
    box.put("x" * 10)
    box.put("y")
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
    full.put("x" * 10)
    waiting = asyncio.create_task(full.room())
    await asyncio.sleep(0)
    full.finish()
    await waiting


SIZES = st.integers(1, 60)
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
