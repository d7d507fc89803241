"""The Python client at a server that sends anything: frames, and state that was saved."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_client.codec import Codec, place_in
from gateway_client.errors import BadFrame
from gateway_client.messages import UnreadableEvent
from gateway_client.saved import SavedState
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import anything, damaged, json_values

BIG = "9" * 5_000
events = st.builds(
    '{{"type":"event","conversation_id":"{}","epoch":"{}","offset":{},"event":{}'.format,
    st.sampled_from(["c_1", "", "é", "a b"]),
    st.sampled_from(["x1", "", "é"]),
    st.sampled_from(["1", "-1", "1.5", "9007199254740993", "18446744073709551616", BIG, "\u0661"]),
    st.sampled_from(['{"type":"X"}}', "[" * 9_000, "NaN}", '"\\ud800"}', ""]),
).map(str.encode)
packed = json_values.map(
    lambda value: msgspec.msgpack.encode({"type": "event", "epoch": repr(value), "offset": 1})
)
TOO_FAR = (
    b'{"type":"event","conversation_id":"c","epoch":"x","offset":%b,"event":NaN}' % BIG.encode()
)
wild = anything | events | damaged(events) | packed | damaged(packed)


@pytest.mark.parametrize("codec", [Codec("json"), Codec("msgpack")], ids=["json", "msgpack"])
@fuzz
@example(TOO_FAR)
@given(wild)
def test_any_frame_is_messages_or_a_bad_frame(codec: Codec, frame: bytes) -> None:
    """And where a frame is bad, what it says of its place is a place or nothing."""
    sent = frame if codec.name == "msgpack" else frame.decode(errors="replace")
    try:
        messages = codec.decode(sent)
    except BadFrame as exc:
        place = place_in(sent, problem=str(exc))
        assert place is None or isinstance(place, UnreadableEvent)
        return
    assert all(isinstance(message, dict) for message in messages)


@fuzz
@given(
    anything
    | damaged(
        st.just(SavedState(session_id="s_1", resume_token="t").to_bytes())  # of a test
    )
)
def test_saved_state_is_read_back_or_refused(data: bytes) -> None:
    """With a ValueError, and nothing else."""
    try:
        state = SavedState.from_bytes(data)
    except ValueError:
        return
    assert SavedState.from_bytes(state.to_bytes()) == state
