"""Recovery without I/O: verdicts, and what of a log is in memory.

That readers who follow them get every event once and in order is shown in test_attachments.py.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fanout.tail import Tail, Verdict, judge
from gateway.protocol.batches import Batch
from gateway.protocol.blanked import Change, change_of
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position
from gateway.protocol.publications import Publication


def event(offset: int, epoch: str = "x", *, text: str = "") -> Publication:
    """Return the event at an offset."""
    return Publication("c_1", epoch, offset, JsonText.of({"n": offset, "text": text}))


def lacking(tail: Tail, position: Position) -> list[int] | None:
    """Return which events a reader at a position is given; None if memory does not have them."""
    if tail.missing(position) == 0:
        return []
    batch = tail.after(position)
    return None if batch is None else [item.offset for item in batch.events]


def filled(*found: Publication, at: int = 10, max_bytes: int = 10_000) -> Tail:
    """Return a tail that began at an offset and heard events one by one."""
    tail = Tail(Position("x", at), max_bytes=max_bytes)
    for one in found:
        tail.extend(Batch([one]))
    return tail


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
def test_a_tail_takes_only_the_next_event(wrong: Publication) -> None:
    """Or it would have a hole."""
    tail = filled()
    with pytest.raises(ValueError, match=r".*"):
        tail.extend(Batch([wrong]))
    tail.extend(Batch([event(11), event(12)]))
    assert tail.position == Position("x", 12)


def test_a_tail_gives_what_a_reader_lacks() -> None:
    """Nothing to one who has all; None to one it does not reach back to."""
    tail = filled(event(11), event(12), event(13))
    assert lacking(tail, Position("x", 10)) == [11, 12, 13]
    assert lacking(tail, Position("x", 12)) == [13]
    assert lacking(tail, Position("x", 13)) == []
    assert lacking(tail, Position("x", 20)) == []
    assert lacking(tail, Position("x", 9)) is None
    assert lacking(tail, Position("y", 12)) is None
    assert tail.since == Position("x", 10)


def test_who_lacks_nothing_is_not_given_a_batch_of_nothing() -> None:
    """A batch is never empty."""
    with pytest.raises(ValueError, match=r".*"):
        filled(event(11)).after(Position("x", 11))


def test_readers_at_the_same_place_are_given_the_same_batch() -> None:
    """Until something is added: a thousand who come back together cost one encoding."""
    tail = filled(event(11), event(12))
    first = tail.after(Position("x", 10))
    assert tail.after(Position("x", 10)) is first
    assert tail.after(Position("x", 11)) is not first
    tail.extend(Batch([event(13)]))
    assert lacking(tail, Position("x", 10)) == [11, 12, 13]


def test_a_full_tail_forgets_the_oldest() -> None:
    """But never the newest, however large."""
    big = event(1, text="x" * 1000)
    tail = filled(*(event(n, text="x" * 1000) for n in range(1, 6)), at=0, max_bytes=2 * big.size)
    assert lacking(tail, Position("x", 3)) == [4, 5]
    assert lacking(tail, Position("x", 2)) is None
    tail.extend(Batch([event(6, text="x" * 9000)]))
    assert lacking(tail, Position("x", 5)) == [6]
    assert lacking(tail, Position("x", 4)) is None


def test_a_restarted_tail_knows_nothing_before() -> None:
    """Nor anything of another epoch."""
    tail = filled(event(11))
    tail.restart(Position("x", 20))
    assert lacking(tail, Position("x", 11)) is None
    assert lacking(tail, Position("x", 20)) == []
    tail.restart(Position("y", 3))
    assert lacking(tail, Position("x", 20)) is None


def test_what_was_read_from_the_log_is_recalled_for_the_next_reader() -> None:
    """Only what ends where memory begins, and as much of it as there is room for."""
    tail = filled(event(11))
    tail.recall([event(8), event(9), event(10)])
    assert lacking(tail, Position("x", 7)) == [8, 9, 10, 11]
    tail.recall([event(3), event(4)])
    tail.recall([event(7, "y")])
    assert tail.since == Position("x", 7)
    small = filled(event(11), max_bytes=event(11).size * 3)
    small.recall([event(n) for n in range(1, 11)])
    assert lacking(small, Position("x", 8)) == [9, 10, 11]
    assert lacking(small, Position("x", 7)) is None


@given(st.integers(0, 50), st.lists(st.integers(0, 300), max_size=60), st.integers(1, 4000))
def test_a_tail_gives_all_after_a_position_or_none(
    start: int, sizes: list[int], max_bytes: int
) -> None:
    """Never a part."""
    events = [event(n, text="x" * size) for n, size in enumerate(sizes, start + 1)]
    tail = filled(*events, at=start, max_bytes=max_bytes)
    end = start + len(sizes)
    for at in range(end + 2):
        found = lacking(tail, Position("x", at))
        assert found is None or found == list(range(at + 1, end + 1))


def said(offset: int, message_id: str) -> Publication:
    """Return a message that was created at an offset."""
    message = {"message_id": message_id, "seq": offset, "content": f"text of {message_id}"}
    return Publication(
        "c_1", "x", offset, JsonText.of({"type": "MESSAGE_CREATED", "message": message})
    )


def deletion(offset: int, message_id: str) -> Change:
    """Return what a deletion at an offset changes."""
    event = {"type": "MESSAGE_DELETED", "messageId": message_id}
    change = change_of(Publication("c_1", "x", offset, JsonText.of(event)))
    assert change is not None
    return change


def text_of(tail: Tail, at: int) -> str:
    """Return all that a reader at an offset is given, as text."""
    batch = tail.after(Position("x", at))
    assert batch is not None
    return " ".join(event.event.data.decode() for event in batch.events)


def test_a_deleted_message_is_forgotten_by_the_tail() -> None:
    """Also by what was put together for readers before."""
    tail = filled(said(11, "m_1"), said(12, "m_2"))
    assert "text of m_1" in text_of(tail, 10)
    tail.extend(Batch([event(13)]))
    tail.blank(deletion(13, "m_1"))
    assert "text of m_1" not in text_of(tail, 10)
    assert "text of m_2" in text_of(tail, 10)
    assert not tail.contradicts(said(11, "m_1"))
    assert tail.contradicts(said(11, "m_3"))


def test_what_was_read_before_a_deletion_is_blanked_when_it_is_recalled() -> None:
    """A reader may have read the log before it, and be slow to give back what it read."""
    tail = filled(at=12)
    tail.extend(Batch([event(13)]))
    tail.blank(deletion(13, "m_1"))
    tail.recall([said(11, "m_1"), said(12, "m_2")])
    assert "text of m_1" not in text_of(tail, 10)
    assert "text of m_2" in text_of(tail, 10)


def test_a_message_that_comes_again_after_its_deletion_stays() -> None:
    """A deletion changes what was before it, nothing else."""
    tail = filled(event(11))
    tail.blank(deletion(11, "m_1"))
    tail.extend(Batch([said(12, "m_1")]))
    assert "text of m_1" in text_of(tail, 10)


def test_a_tail_counts_its_bytes_over_changes() -> None:
    """What is forgotten for lack of room goes by what is there."""
    size = said(11, "m_1").size
    tail = filled(said(11, "m_1"), said(12, "m_2"), at=10, max_bytes=2 * size + 90)
    tail.extend(Batch([event(13)]))
    assert tail.since.offset == 11
    many = filled(*(said(offset, f"m_{offset}") for offset in range(11, 200)), max_bytes=10**6)
    for offset in range(200, 389):
        many.extend(Batch([event(offset)]))
        many.blank(deletion(offset, f"m_{offset - 189}"))
    assert "text of" not in text_of(many, 10)
