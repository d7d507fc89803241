"""Recovery without I/O: every event once, in order, whatever is missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.json_text import JsonText
from gateway.messages import Position
from gateway.published import Published
from gateway.recovery import Tail, Verdict, judge


def event(offset: int, epoch: str = "x", *, text: str = "") -> Published:
    """Return the event at an offset."""
    return Published("c_1", epoch, offset, JsonText.of({"n": offset, "text": text}))


def offsets(events: list[Published] | None) -> list[int] | None:
    """Return where events stand."""
    return None if events is None else [item.offset for item in events]


@pytest.mark.parametrize(
    ("epoch", "offset", "verdict"),
    [
        ("x", 11, Verdict.NEXT),
        ("x", 10, Verdict.DUPLICATE),
        ("x", 1, Verdict.DUPLICATE),
        ("x", 12, Verdict.GAP),
        ("y", 11, Verdict.OTHER_EPOCH),
        ("y", 1, Verdict.OTHER_EPOCH),
    ],
)
def test_verdicts_on_a_reader_at_10(epoch: str, offset: int, verdict: Verdict) -> None:
    """Epochs are compared first: their offsets have nothing to do with each other."""
    assert judge(Position("x", 10), epoch, offset) is verdict


@pytest.mark.parametrize(
    "wrong",
    [event(9), event(10), event(12), event(11, "y")],
    ids=["behind", "here", "beyond", "elsewhere"],
)
def test_a_tail_takes_only_the_next_event(wrong: Published) -> None:
    """Or it would have a hole."""
    tail = Tail(Position("x", 10), max_bytes=1000)
    with pytest.raises(ValueError, match=r".*"):
        tail.append(wrong)
    tail.append(event(11))
    assert tail.position == Position("x", 11)


def test_a_tail_gives_what_a_reader_lacks() -> None:
    """Nothing to one who has all; None to one it does not reach back to."""
    tail = Tail(Position("x", 10), max_bytes=10_000)
    for n in (11, 12, 13):
        tail.append(event(n))
    assert offsets(tail.after(Position("x", 10))) == [11, 12, 13]
    assert offsets(tail.after(Position("x", 12))) == [13]
    assert offsets(tail.after(Position("x", 13))) == []
    assert offsets(tail.after(Position("x", 20))) == []
    assert tail.after(Position("x", 9)) is None
    assert tail.after(Position("y", 12)) is None


def test_a_full_tail_forgets_the_oldest() -> None:
    """But keeps the newest, however large."""
    big = event(1, text="x" * 1000)
    tail = Tail(Position("x", 0), max_bytes=2 * big.size)
    for n in range(1, 6):
        tail.append(event(n, text="x" * 1000))
    assert offsets(tail.after(Position("x", 3))) == [4, 5]
    assert tail.after(Position("x", 2)) is None
    tail.append(event(6, text="x" * 9000))
    assert offsets(tail.after(Position("x", 5))) == [6]
    assert tail.after(Position("x", 4)) is None


def test_a_restarted_tail_knows_nothing_before() -> None:
    """In the same epoch or another."""
    tail = Tail(Position("x", 10), max_bytes=1000)
    tail.append(event(11))
    tail.restart(Position("x", 20))
    assert tail.after(Position("x", 11)) is None
    assert offsets(tail.after(Position("x", 20))) == []
    tail.restart(Position("y", 0))
    assert tail.after(Position("x", 20)) is None


@given(st.integers(0, 50), st.lists(st.integers(0, 300), max_size=60), st.integers(1, 4000))
def test_a_tail_gives_all_after_a_position_or_none(
    start: int, sizes: list[int], max_bytes: int
) -> None:
    """Never a part."""
    tail = Tail(Position("x", start), max_bytes=max_bytes)
    for n, size in enumerate(sizes, start + 1):
        tail.append(event(n, text="x" * size))
    end = start + len(sizes)
    for at in range(end + 2):
        found = offsets(tail.after(Position("x", at)))
        assert found is None or found == list(range(at + 1, end + 1))


class Reading(RuleBasedStateMachine):
    """A log, its live copies on a lossy channel, a tail, and a reader, in any interleaving.

    The reader follows the rules of gateway/attachments.py with `judge` and `Tail` alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch, self.epochs = "e0", 1
        self.log: list[Published] = []
        self.channel: list[Published] = []
        self.seen: list[tuple[str, int]] = []
        self.is_live = True

    @initialize(max_bytes=st.integers(1, 2000))
    def begin(self, max_bytes: int) -> None:
        """Listen from the start."""
        self.tail = Tail(Position("e0", 0), max_bytes=max_bytes)
        self.position = Position("e0", 0)

    @rule(size=st.integers(0, 300))
    def write(self, size: int) -> None:
        """An event is appended and published."""
        new = event(len(self.log) + 1, self.epoch, text="x" * size)
        self.log.append(new)
        self.channel.append(new)

    @rule()
    def fail_over(self) -> None:
        """The log begins anew."""
        self.epoch, self.epochs, self.log = f"e{self.epochs}", self.epochs + 1, []

    @rule(count=st.integers(1, 5))
    def hear(self, count: int) -> None:
        """Live copies come."""
        heard, self.channel = self.channel[:count], self.channel[count:]
        for item in heard:
            self.take(item)

    @rule(count=st.integers(1, 5))
    def lose(self, count: int) -> None:
        """Live copies are lost."""
        self.channel = self.channel[count:]

    @rule(count=st.integers(1, 2))
    def repeat(self, count: int) -> None:
        """Old ones are heard again."""
        for item in self.log[-count:]:
            self.take(item)

    @rule()
    def compare(self) -> None:
        """The tail learns where the log stands."""
        at = Position(self.epoch, len(self.log))
        if judge(self.tail.position, at.epoch, at.offset) is not Verdict.DUPLICATE:
            self.tail.restart(at)
            self.is_live = False

    @rule(page=st.integers(1, 4))
    def catch_up(self, page: int) -> None:
        """A reader that is behind takes from memory, or a page of the log."""
        if self.is_live:
            return
        if self.position.epoch != self.epoch:
            self.position = Position(self.epoch, len(self.log))
            self.seen = [(self.epoch, len(self.log))]  # a snapshot stands for what was before
        for item in self.tail.after(self.position) or self.log[self.position.offset :][:page]:
            if judge(self.position, item.epoch, item.offset) is Verdict.NEXT:
                self.deliver(item)
        self.is_live = self.tail.after(self.position) == []

    def take(self, item: Published) -> None:
        """Hear one live copy, as a topic does."""
        verdict = judge(self.tail.position, item.epoch, item.offset)
        if verdict is Verdict.DUPLICATE:
            return
        if verdict is not Verdict.NEXT:
            self.tail.restart(Position(item.epoch, item.offset - 1))
        self.tail.append(item)
        mine = judge(self.position, item.epoch, item.offset)
        if self.is_live and mine is Verdict.NEXT:
            self.deliver(item)
        elif mine is not Verdict.DUPLICATE:
            self.is_live = False

    def deliver(self, item: Published) -> None:
        """Send an event to the client."""
        self.position = Position(item.epoch, item.offset)
        self.seen.append((item.epoch, item.offset))

    @invariant()
    def reader_saw_each_event_once_in_order(self) -> None:
        """No gap and no double within an epoch."""
        for (epoch, offset), (next_epoch, next_offset) in zip(
            self.seen, self.seen[1:], strict=False
        ):
            assert (next_epoch, next_offset) == (epoch, offset + 1)

    def teardown(self) -> None:
        """When all is quiet and compared, the reader has all there is."""
        while self.channel:
            self.hear(5)
        self.compare()
        for _ in range(len(self.log) + 2):
            self.catch_up(4)
        assert self.position == Position(self.epoch, len(self.log))
        self.reader_saw_each_event_once_in_order()


TestReading = Reading.TestCase
