"""What one connection reads: every event once, in order, whatever is missed, late or left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.errors import TooLarge
from gateway.protocol.batches import Pushes
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position
from gateway.protocol.publications import Publication
from tests.support.reading_model import ALICE, NAME, Reading, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

BIG = 1_000_000
SAID = {"type": "MESSAGE_CREATED"}
LEFT = {"type": "PARTICIPANT_LEFT", "subject": "alice"}


def reading_test(
    scenario: Callable[[Reading], Awaitable[None]], *, outbox_bytes: int = BIG
) -> None:
    """Run a scenario with a reading of its own; its tasks end with it."""

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            reading = Reading(group, outbox_bytes=outbox_bytes)
            await scenario(reading)
            reading.outbox.finish()
            while reading.log.asked or reading.log.answers:
                reading.log.run_read()
                reading.log.answer_read()
                await settle()

    asyncio.run(run())


async def joined(reading: Reading, *, at: Position | None = None) -> None:
    """Join from a position and let all come."""
    reading.position = at
    await reading.join(with_cursor=at is not None)
    await reading.quiesce()


def test_a_replay_comes_whole_and_then_live() -> None:
    """Page by page, then what is new."""

    async def scenario(reading: Reading) -> None:
        for _ in range(10):
            reading.log.append(SAID)
        await reading.hear(100)
        await joined(reading, at=Position("e0", 0))
        assert (reading.position, reading.is_live) == (Position("e0", 10), True)
        reading.log.append(SAID)
        await reading.quiesce()
        assert reading.position == Position("e0", 11)
        assert reading.lives == 1

    reading_test(scenario)


def test_a_join_again_while_pages_are_under_way_doubles_nothing() -> None:
    """The page that was asked for by the first reading is thrown away."""

    async def scenario(reading: Reading) -> None:
        for _ in range(12):
            reading.log.append(SAID)
        await reading.hear(100)
        reading.hub.topic.tail = None
        reading.position = Position("e0", 0)
        await reading.join(with_cursor=True)
        await settle()
        for _ in range(2):
            reading.log.run_read()
            await settle()
            reading.log.answer_read()
            await settle()
        assert reading.log.asked, "the first reading asks for its next page"
        await reading.drain()
        await reading.join(with_cursor=True)
        await reading.quiesce()
        assert reading.position == Position("e0", 12)
        assert reading.is_live

    reading_test(scenario)


def test_live_of_a_connect_does_not_wait_for_a_reading_that_was_replaced() -> None:
    """A join in the middle of the replay leaves the rest of the replay to end."""

    async def scenario(reading: Reading) -> None:
        for _ in range(12):
            reading.log.append(SAID)
        reading.position = Position("e0", 0)
        await reading.join(with_cursor=True)
        await settle()
        reading.log.run_read()
        reading.log.answer_read()
        await settle()
        await reading.drain()
        await reading.join(with_cursor=True)
        await reading.quiesce()
        assert reading.joins == 2
        assert reading.lives == 2
        assert reading.position == Position("e0", 12)

    reading_test(scenario)


def test_leaving_while_a_page_is_under_way_ends_the_reading() -> None:
    """Nothing comes any more, not even what was read already."""

    async def scenario(reading: Reading) -> None:
        for _ in range(9):
            reading.log.append(SAID)
        reading.position = Position("e0", 0)
        await reading.join(with_cursor=True)
        await settle()
        for _ in range(2):
            reading.log.run_read()
            reading.log.answer_read()
            await settle()
        reading.log.run_read()
        await reading.drain()
        stood_at = reading.position
        reading.leave()
        await reading.quiesce()
        assert reading.position == stood_at

    reading_test(scenario)


def test_leaving_while_a_page_waits_for_room_ends_the_reading() -> None:
    """What of the page was not put into the outbox yet is never put."""

    async def scenario(reading: Reading) -> None:
        for _ in range(40):
            reading.log.append(SAID)
        await reading.hear(100)
        reading.log.page = 40
        reading.position = Position("e0", 0)
        await reading.join(with_cursor=True)
        await settle()
        for _ in range(2):
            reading.log.run_read()
            reading.log.answer_read()
            await settle()
        assert not reading.outbox.has_room
        reading.leave()
        await reading.quiesce()
        assert reading.position is not None
        assert 0 < reading.position.offset < 40

    reading_test(scenario, outbox_bytes=4096)


def test_a_subject_removed_between_the_read_and_its_delivery_hears_nothing_more() -> None:
    """What others say after the removal is in memory, and stays there."""

    async def scenario(reading: Reading) -> None:
        reading.log.append(SAID)
        await reading.hear(100)
        reading.position = Position("e0", 1)
        await reading.join(with_cursor=True)
        await settle()
        reading.log.run_read()  # as a participant
        reading.log.remove_member()
        reading.log.append(SAID)
        await reading.hear(100)
        await reading.quiesce()
        assert reading.position == Position("e0", 1)
        assert NAME not in reading.subscriptions
        reading.log.append(SAID)
        await reading.quiesce()
        assert reading.position == Position("e0", 1)

    reading_test(scenario)


def test_a_late_word_of_an_earlier_leaving_does_not_end_a_new_reading() -> None:
    """Who came back before it was heard stays."""

    async def scenario(reading: Reading) -> None:
        reading.log.append(SAID)
        await reading.hear(100)
        reading.log.append(LEFT)
        reading.log.append(SAID)
        await reading.join(with_cursor=False)
        await settle()
        reading.log.run_read()
        reading.log.answer_read()
        await settle()
        assert NAME in reading.subscriptions
        await reading.hear(100)
        assert NAME in reading.subscriptions
        reading.log.append(SAID)
        await reading.quiesce()
        assert reading.position == Position("e0", 4)

    reading_test(scenario)


def test_a_live_reader_is_told_that_it_was_removed_and_nothing_after() -> None:
    """The event of the leaving is the last."""

    async def scenario(reading: Reading) -> None:
        await joined(reading)
        reading.log.append(LEFT)
        reading.log.append(SAID)
        await reading.quiesce()
        assert reading.position == Position("e0", 1)
        assert NAME not in reading.subscriptions

    reading_test(scenario)


def test_a_topic_behind_the_log_does_not_end_a_replay() -> None:
    """A deaf moment: memory ends before what the client was promised, so the log is read on."""

    async def scenario(reading: Reading) -> None:
        reading.log.append(SAID)
        await reading.hear(100)
        for _ in range(9):
            reading.log.append(SAID)
        reading.log.channel.clear()  # never heard
        await joined(reading, at=Position("e0", 1))
        assert (reading.position, reading.is_live) == (Position("e0", 10), True)

    reading_test(scenario)


def test_a_new_epoch_that_was_not_heard_of_costs_a_few_reads_only() -> None:
    """The topic learns it from the log: readers do not ask over and over."""

    async def scenario(reading: Reading) -> None:
        for _ in range(3):
            reading.log.append(SAID)
        await reading.hear(100)
        reading.log.fail_over(lost=0)
        reading.log.append(SAID)
        reading.log.channel.clear()
        await joined(reading, at=Position("e0", 3))
        assert (reading.position, reading.is_live) == (Position("e1", 4), True)
        assert reading.log.reads <= 3
        assert reading.snapshots == 0

    reading_test(scenario)


def test_a_removal_that_a_replaced_master_wrote_late_removes_nobody() -> None:
    """It is in no log: the reader asks that, takes part, and goes on."""

    async def scenario(reading: Reading) -> None:
        reading.log.append(SAID)
        await reading.hear(100)
        await joined(reading)
        reading.log.fail_over(lost=0)
        reading.log.append(SAID)
        await reading.quiesce()
        late = Publication(NAME, "e0", 2, JsonText.of(LEFT))
        reading.hub.topic.hear([late])
        await reading.quiesce()
        reading.log.append(SAID)
        await reading.quiesce()
        assert NAME in reading.subscriptions
        assert reading.position == Position("e1", 3)

    reading_test(scenario)


def test_an_event_that_a_replaced_master_wrote_late_is_not_given_to_who_joins() -> None:
    """It is what the topic heard last; the log that was read knows better."""

    async def scenario(reading: Reading) -> None:
        for _ in range(2):
            reading.log.append(SAID)
        await reading.hear(100)
        await joined(reading, at=Position("e0", 2))
        reading.log.fail_over(lost=0)
        reading.log.append(SAID)
        await reading.quiesce()
        reading.hub.topic.hear([Publication(NAME, "e0", 3, JsonText.of(SAID | {"n": 99}))])
        await joined(reading, at=Position("e0", 2))
        assert reading.position == Position("e1", 3)
        assert [one for one in reading.what_it_has() if one[0] != one[1]] == []

    reading_test(scenario)


def test_a_replay_larger_than_the_outbox_waits_for_the_client() -> None:
    """It is not a slow consumer who is given more than it can hold."""

    async def scenario(reading: Reading) -> None:
        for _ in range(200):
            reading.log.append(SAID)
        await reading.hear(1000)
        reading.log.page = 256
        await joined(reading, at=Position("e0", 0))
        assert not reading.is_slow
        assert reading.position == Position("e0", 200)

    reading_test(scenario, outbox_bytes=4096)


def test_a_tail_in_memory_larger_than_the_outbox_waits_for_the_client() -> None:
    """Memory is given at the client's pace too."""

    async def scenario(reading: Reading) -> None:
        reading.log.append(SAID)
        await reading.hear(100)
        reading.position = Position("e0", 1)
        await reading.join(with_cursor=True)
        await settle()
        reading.log.run_read()
        for _ in range(200):
            reading.log.append(SAID)
        await reading.hear(1000)
        await reading.quiesce()
        assert not reading.is_slow
        assert reading.position == Position("e0", 201)

    reading_test(scenario, outbox_bytes=4096)


def test_what_is_not_in_the_log_is_dropped_when_half_is_taken() -> None:
    """It is promised to nobody, and takes no room from what is; nobody is slow for it."""
    typing = Pushes([JsonText(b'{"type":"typing"}')])

    async def scenario(reading: Reading) -> None:
        await joined(reading)
        (reader,) = reading.hub.topic.live
        for _ in range(2):
            reading.outbox.put(b"x" * 300)
        reader.hear_whisper(typing)
        assert reading.outbox.waiting_bytes == 600
        reading.outbox.take(BIG)
        reader.hear_whisper(typing)
        assert reading.outbox.waiting_bytes == typing.size
        reading.outbox.take(BIG)
        assert not reading.is_slow

    reading_test(scenario, outbox_bytes=1_000)


def test_events_without_room_come_from_the_log_and_the_reader_is_live_again() -> None:
    """The client takes nothing meanwhile; no event is doubled, none is missing."""

    async def scenario(reading: Reading) -> None:
        await joined(reading)
        for _ in range(50):
            reading.log.append(SAID)
        await reading.hear(50)
        assert not reading.hub.topic.live, "it has fallen behind"
        assert reading.outbox.waiting_bytes <= 2_000
        await reading.quiesce()
        assert (reading.position, reading.is_live) == (Position("e0", 50), True)
        assert reading.hub.topic.live
        assert not reading.is_slow

    reading_test(scenario, outbox_bytes=2_000)


def test_what_memory_has_waits_for_room_behind_a_page_of_the_log() -> None:
    """The page took what room there was; the one event after it must not make a client slow."""

    async def scenario(reading: Reading) -> None:
        for _ in range(3):
            reading.log.append(SAID | {"content": "x" * 560})
        await reading.hear(3)
        reading.log.page = 2
        await joined(reading, at=Position("e0", 0))
        assert not reading.is_slow
        assert (reading.position, reading.is_live) == (Position("e0", 3), True)

    reading_test(scenario, outbox_bytes=1_500)


def test_a_snapshot_waits_for_room_that_was_taken_while_it_was_read() -> None:
    """By replies, or by what is live: the client is not slow for it."""

    async def scenario(reading: Reading) -> None:
        for _ in range(8):
            reading.log.append(SAID)
        reading.log.kept_from = 6
        reading.position = Position("e0", 3)
        await reading.join(with_cursor=True)
        await settle()
        reading.outbox.put(b" " * 500)
        for number in range(2):
            reading.log.run_read()
            if number:
                reading.outbox.put(b" " * 700)
            reading.log.answer_read()
            await settle()
        assert reading.snapshots == 0
        assert not reading.is_slow
        reading.outbox.take(500)  # the room that the snapshot waits for
        await settle()
        assert not reading.is_slow

    reading_test(scenario, outbox_bytes=1_500)


async def test_connect_does_not_exceed_the_number_of_conversations() -> None:
    """Though all are held at once."""
    async with asyncio.TaskGroup() as group:
        reading = Reading(group, outbox_bytes=BIG)
        reading.subscriptions._max_conversations = 1
        await reading.subscriptions.hold(NAME)
        with pytest.raises(TooLarge):
            await reading.subscriptions.hold("c_2")
        assert reading.hub.topic.holds == 1
        await reading.subscriptions.hold(NAME)
        assert reading.hub.topic.holds == 1
        assert reading.subscriptions.caller == ALICE
        reading.subscriptions.close()
        assert reading.hub.topic.holds == 0


STEPS = st.lists(
    st.sampled_from(
        ["write"] * 5
        + ["write_large"]
        + ["hear", "hear", "run_read", "run_read", "answer_read", "answer_read"]
        + [
            "drain",
            "lose",
            "compare",
            "fail_over",
            "lossy_fail_over",
            "write_late",
            "trim",
            "join",
            "join_fresh",
            "remove",
            "add",
        ]
    ),
    max_size=60,
)


async def step(reading: Reading, name: str) -> None:  # noqa: C901, PLR0912  # a table of actions
    """Let one thing happen."""
    log = reading.log
    match name:
        case "write":
            log.append(SAID)
        case "write_large":
            log.append(SAID | {"content": "x" * 600})
        case "hear":
            await reading.hear(1)
        case "run_read":
            log.run_read()
        case "answer_read":
            log.answer_read()
        case "drain":
            await reading.drain()
        case "lose":
            log.channel = log.channel[2:]
        case "compare":
            reading.compare()
        case "fail_over":
            log.fail_over(lost=0)
        case "lossy_fail_over":
            log.fail_over(lost=2)
        case "write_late":
            log.write_late()
        case "trim":
            log.kept_from = max(log.kept_from, len(log.events))
        case "join":
            await reading.join(with_cursor=True)
        case "join_fresh":
            await reading.join(with_cursor=False)
        case "remove" if log.is_member:
            log.remove_member()
        case "add" if not log.is_member:
            log.append({"type": "PARTICIPANT_JOINED", "subject": "alice"})
            log.is_member = True
    await settle()


@given(steps=STEPS, outbox_bytes=st.sampled_from([1500, 5000, BIG]))
@example(steps=["write"] * 5 + ["hear"] * 5 + ["join"], outbox_bytes=1500)
@example(
    steps=["remove", "write", "join_fresh", "add", "run_read", "lossy_fail_over", "fail_over"],
    outbox_bytes=1500,
)
@hypothesis_settings(max_examples=400)
def test_any_interleaving_gives_every_event_once_and_in_order(
    steps: list[str], outbox_bytes: int
) -> None:
    """The client checks each frame; when all is quiet and compared, it lacks nothing.

    However little its outbox holds: what does not fit is in the log.
    """

    async def scenario(reading: Reading) -> None:
        await joined(reading)
        for name in steps:
            await step(reading, name)
        await reading.quiesce()
        reading.compare()
        reading.compare()
        await reading.quiesce()
        assert not reading.is_slow
        if NAME in reading.subscriptions:
            assert reading.log.is_member, "one who was removed is still reading"
            assert reading.position == reading.log.position
            assert reading.is_live
            assert [one for one in reading.what_it_has() if one[0] != one[1]] == []
        elif not reading.log.is_member and reading.position is not None:
            at = reading.position
            assert at.offset <= reading.log.left_at.get(at.epoch, at.offset), "heard too much"
        assert not reading.log.asked, "somebody asks the log for ever"

    reading_test(scenario, outbox_bytes=outbox_bytes)
