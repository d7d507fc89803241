"""The Python client at a server that sends anything: frames, and state that was saved."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_client.errors import BadFrame
from gateway_client.protocol.codec import Codec, place_in
from gateway_client.protocol.messages import Disconnect, Heartbeat, UnreadableEvent
from gateway_client.session.liveness import Liveness
from gateway_client.session.reconnect import MAX_TOLD_S, Next, plan_after_close
from gateway_client.session.saved import SavedState
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


numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([0.0, -0.0, 1e-300, 1e300, -1e300, 2**53, 2**63, -(2**63), 1e400]),
    st.floats(),
)


@fuzz
@given(
    st.integers(0, 5_000) | st.sampled_from([4_101, 4_103]),
    st.dictionaries(st.sampled_from(["code", "retry_after_ms", "window_ms"]), numbers),
    st.integers(0, 3),
)
def test_any_disconnect_brings_the_client_back_within_hours(
    code: int, told: dict[str, float], attempt: int
) -> None:
    """A server that is wrong about the delay costs an hour or two, and no busy loop of tries."""
    try:
        hint = msgspec.json.decode(msgspec.json.encode({"code": 4_101} | told), type=Disconnect)
    except msgspec.ValidationError:
        return
    plan = plan_after_close(code, reason="", hint=hint, attempt=attempt, random=Random(1))
    assert 0 <= plan.delay_s <= 2 * MAX_TOLD_S
    if attempt > 0 and plan.next is Next.RECONNECT:
        assert plan.delay_s > 0


@fuzz
@given(numbers, numbers)
def test_any_heartbeat_leaves_the_client_time(interval_s: float, timeout_s: float) -> None:
    """It is not due again at once, and the server is not gone at once."""
    try:
        heartbeat = msgspec.json.decode(
            msgspec.json.encode({"interval_s": interval_s, "timeout_s": timeout_s}),
            type=Heartbeat,
        )
    except msgspec.ValidationError:
        return
    liveness = Liveness()
    liveness.opened(100.0)
    liveness.greeted(heartbeat, 100.0)
    liveness.sent(100.0)
    assert not liveness.is_ping_due(100.0)
    assert not liveness.is_silent(100.0)


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
