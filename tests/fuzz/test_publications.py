"""What comes over pub/sub and out of the log: entries in order, or a ValueError; never a crash."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.fanout.hub import Hub
from gateway.fanout.tail import Tail, Verdict, judge
from gateway.fanout.topic import Topic
from gateway.protocol.batches import Batch, batches
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText, whole
from gateway.protocol.messages import Position
from gateway.protocol.publications import Publication
from gateway.store.channel import parse_live
from gateway.store.cuts import Cuts
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import any_text, anything, damaged, json_values

entries = st.one_of(
    st.builds(
        lambda text: (
            b'{"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":%b}'
            % msgspec.json.encode(text)
        ),
        st.text(max_size=8),
    ),
    st.just(b'{"message_id":"m","seq":1}'),
    st.just(b'{"type":"PARTICIPANT_LEFT","subject":"bob"}'),
    st.just(b'{"type":"PARTICIPANT_LEFT","subject":{}}'),
    st.just(b'{"type":"X","v":' + b"[" * 2_000 + b"]" * 2_000 + b"}"),
    st.just(b'{"type":"X","v":1e999,"w":18446744073709551616}'),
    anything,
)


def several(offset: int, some: list[bytes]) -> bytes:
    """The live copy of several entries (lua/prelude.lua)."""
    sizes = ",".join(str(len(entry)) for entry in some)
    return f"b:x1:{offset}:{sizes}:".encode() + b"".join(some)


odd = st.sampled_from(["0", "-1", "9007199254740993", "9" * 4_400, "9" * 400, "1_0", " 2", "x"])
publications = st.one_of(
    st.builds(lambda offset, entry: b"e:x1:%d:%b" % (offset, entry), st.integers(1, 9), entries),
    st.builds(several, st.integers(1, 9), st.lists(entries, min_size=1, max_size=4)),
    st.builds("{}:x1:{}:{}:abc".format, st.sampled_from("eb"), odd, odd | st.just("1,2")).map(
        str.encode
    ),
    st.builds("b:x1:1:{},{}:abcd".format, odd, odd | st.just("4")).map(str.encode),
)
wild = publications | damaged(publications) | anything.map(lambda data: b"b:" + data)


def heard(payload: bytes) -> list[Publication] | None:
    """The entries of a publication; None if it is none."""
    try:
        return parse_live("c_1", payload)
    except ValueError:
        return None


@fuzz
@given(wild)
def test_a_publication_is_entries_that_follow_each_other(payload: bytes) -> None:
    """Each can be written in both codecs, at an offset that every client can hold."""
    found = heard(payload) if payload[:2] in {b"e:", b"b:"} else None
    if found is None:
        return
    assert found
    if payload[:2] == b"b:":  # all of it, and nothing twice
        entries_in = payload.split(b":", 4)
        assert sum(map(int, entries_in[3].split(b","))) == len(entries_in[4])
    assert [one.offset for one in found] == list(range(found[0].offset, found[-1].offset + 1))
    assert all(0 < one.offset <= 2**53 for one in found)
    for batch in batches(found, max_bytes=200):
        for encoder in ENCODERS.values():
            payloads = batch.payloads(encoder)
            assert len(payloads) == len(batch.events)
        for one in batch.payloads(ENCODERS["json"]):
            assert msgspec.json.decode(one)["offset"] <= 2**53


@fuzz
@given(st.integers(1, 2**53 - 9), st.lists(st.binary(max_size=30), min_size=1, max_size=5))
def test_what_scripts_publish_is_read_back(offset: int, some: list[bytes]) -> None:
    """Every entry, where it was, and alike whether it is alone or with others."""
    found = heard(several(offset, some))
    assert found is not None
    for number, (one, entry) in enumerate(zip(found, some, strict=True)):
        (alone,) = heard(b"e:x1:%d:%b" % (offset + number, entry)) or ()
        assert (one.offset, one.event) == (alone.offset, alone.event)


class Listener:
    """A reader that keeps what is whispered."""

    connection_id = "k_1"
    subject = "alice"

    def __init__(self) -> None:
        self.pushes = 0

    def hear_whisper(self, whispered: object) -> None:
        """Write it in both codecs, as a connection does."""
        for encoder in ENCODERS.values():
            self.pushes += len(whispered.payloads(encoder))


@fuzz
@given(
    anything
    | st.builds(
        lambda origin, some: origin + b":" + b"\n".join(some),
        st.sampled_from([b"k_1", b"k_2", b""]),
        st.lists(json_values.map(lambda v: repr(v).encode("utf-8", "replace")) | entries),
    )
)
def test_whispers_are_passed_on_or_dropped(whispered: bytes) -> None:
    """What is no JSON harms nobody."""
    topic, listener = Topic("t", "c_1"), Listener()
    topic.live.add(listener)
    Hub._pass_on(topic, whispered)


# --- cursors -----------------------------------------------------------------------------------

numbers = st.integers(0, 12) | st.sampled_from([2**53, 2**31])
cursors = st.builds(
    Position, st.sampled_from(["x1", "x0", "y", "", "\0", "x1 "]) | any_text, numbers
)


@fuzz
@given(st.integers(0, 8), st.integers(0, 4), cursors, st.integers(1, 5), st.booleans())
def test_any_cursor_gets_what_follows_it_or_everything(
    first: int, count: int, cursor: Position, max_events: int, has_ended: bool
) -> None:
    """Never an event it has, never a gap: the next ones in order, or the snapshot."""
    ended = b"x0:%d" % first if has_ended else b""
    events = [b'{"type":"X"}'] * count
    cuts = Cuts("c_1", [b"x1", first + count, b"", first, [events], None, ended])
    cut = cuts.after(cursor, max_events=max_events, lacks_events=True)
    position = Position("x1", first + count)
    known = {"x1": position.offset} | ({"x0": first} if has_ended else {})
    if cursor.offset > known.get(cursor.epoch, -1) or cursor.offset < first:
        assert cut is None  # the snapshot, which this reply has not
        return
    assert cut is not None
    assert (cut.mode, cut.position) == ("tail", position)
    offsets = [event.offset for event in cut.events]
    assert offsets == list(range(cursor.offset + 1, position.offset + 1))[:max_events]


@fuzz
@given(cursors, st.integers(1, 9), st.lists(st.integers(1, 9), max_size=6))
def test_a_tail_gives_nothing_twice_and_leaves_nothing_out(
    cursor: Position, start: int, counts: list[int]
) -> None:
    """Whatever cursor it is asked for, and however little it may keep."""
    tail = Tail(Position("x1", start), max_bytes=700)
    for count in counts:
        at = tail.position.offset
        tail.extend(
            Batch([Publication("c", "x1", at + n, JsonText(b"{}")) for n in range(1, count + 1)])
        )
    missing = tail.missing(cursor)
    if missing is None or missing == 0:
        assert cursor.epoch != "x1" or cursor.offset >= tail.position.offset
        return
    batch = tail.after(cursor)
    if batch is not None:
        found = [event.offset for event in batch.events]
        assert found == list(range(cursor.offset + 1, tail.position.offset + 1))
        assert judge(cursor, "x1", found[0]) is Verdict.NEXT


@fuzz
@given(any_text, any_text)
def test_text_is_made_whole(one: str, other: str) -> None:
    """What comes out is UTF-8, and halves that meet are one character."""
    joined = whole(one + other)
    joined.encode()
    assert whole(joined) == joined
