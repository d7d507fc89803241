"""Frames to messages and back, in both codecs."""

from __future__ import annotations

import json
import math
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.codes import ErrorCode
from gateway.protocol import messages
from gateway.protocol.decoder import CodecName, FrameDecoder, Rejected
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Request, SendMessage
from gateway.protocol.publications import Publication
from tests.unit.protocol.test_json_values import JSON

REQUESTS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Request) and kind is not Request
]
DECODERS = {codec: FrameDecoder(codec, REQUESTS, max_batch=8, max_depth=64) for codec in ENCODERS}
CODECS: list[CodecName] = ["json", "msgpack"]
both = pytest.mark.parametrize("codec", CODECS)


def packed(codec: CodecName, value: object) -> str | bytes:
    """Write a frame with code that is not ours."""
    if codec == "msgpack":
        data: bytes = msgpack.packb(value)
        return data
    return msgspec.json.encode(value).decode()


def unpacked(codec: CodecName, payload: bytes) -> Any:
    """Read a payload with code that is not ours."""
    return msgpack.unpackb(payload) if codec == "msgpack" else json.loads(payload)


def decoded(codec: CodecName, frame: str | bytes) -> list[Any]:
    """Decode all messages of a frame."""
    found = DECODERS[codec].decode(frame)
    if isinstance(found, tuple):
        return list(found)
    return [item for each in found for item in each]


def only(codec: CodecName, frame: str | bytes) -> Any:
    """Decode a frame of one message."""
    (found,) = decoded(codec, frame)
    return found


def refusal(codec: CodecName, frame: str | bytes) -> Rejected:
    """Decode a frame that is refused."""
    found = only(codec, frame)
    assert isinstance(found, Rejected), found
    return found


IDENTIFIERS = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
REQUEST_IDS = st.none() | st.text(max_size=64) | st.integers(-(2**63), 2**63 - 1)
POSITIONS = st.builds(messages.Position, st.text(max_size=64), st.integers(0, 2**53))
PARTS = st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=3)
PRINTABLE = st.text(min_size=1).filter(str.isprintable)
ANY_REQUEST = st.one_of(
    st.builds(messages.Ping, id=REQUEST_IDS),
    st.builds(messages.Ack, id=REQUEST_IDS, cursors=st.dictionaries(IDENTIFIERS, POSITIONS)),
    st.builds(
        messages.SendMessage,
        id=REQUEST_IDS,
        client_message_id=st.text(min_size=1, max_size=64),
        content=st.text() | PARTS,
        conversation_id=st.none() | IDENTIFIERS,
        agent=st.just(msgspec.UNSET) | st.none() | st.text(max_size=64),
    ),
    st.builds(
        messages.Connect,
        id=REQUEST_IDS,
        session_id=st.none() | st.text(max_size=128),
        resume_token=st.none() | st.text(max_size=256),
        cursors=st.dictionaries(IDENTIFIERS, POSITIONS, max_size=3),
    ),
    st.builds(
        messages.CreateConversation,
        id=REQUEST_IDS,
        title=st.none() | PRINTABLE.map(lambda text: text[:256]),
        participants=st.lists(PRINTABLE.map(lambda text: text[:128]), max_size=3),
        metadata=st.dictionaries(st.text(), JSON, max_size=3),
    ),
)


@both
@given(request=ANY_REQUEST)
def test_any_request_is_read_as_it_was_written(codec: CodecName, request: Request) -> None:
    """By code that knows the protocol only."""
    assert only(codec, packed(codec, msgspec.to_builtins(request))) == request


@both
@given(value=JSON)
def test_the_users_json_comes_back_equal(codec: CodecName, value: object) -> None:
    """In through either codec, stored as JSON, out through both."""
    sent = only(
        codec,
        packed(
            codec, {"type": "send_message", "client_message_id": "a", "content": [{"v": value}]}
        ),
    )
    stored = JsonText(msgspec.json.encode(sent.content[0]["v"]))
    for out in CODECS:
        (payload,) = ENCODERS[out].encode_events([Publication("c_1", "x", 3, stored)])
        event = unpacked(out, payload)
        assert event["event"] == value
        history = messages.MessageUpdated(message=stored)
        assert unpacked(out, ENCODERS[out].encode(history))["message"] == value
        assert unpacked(out, ENCODERS[out].encode_push(stored)) == value


@both
def test_a_spliced_event_is_what_the_struct_would_be(codec: CodecName) -> None:
    """The quick way and the plain way give one shape."""
    event = JsonText.of({"type": "MESSAGE_CREATED", "message": {"content": 'ä "quoted"'}})
    encoder = ENCODERS[codec]
    plain = encoder.encode(messages.Event(conversation_id="c_1", epoch="x1", offset=7, event=event))
    (quick,) = encoder.encode_events([Publication("c_1", "x1", 7, event)])
    assert unpacked(codec, quick) == unpacked(codec, plain)


@both
@given(data=st.binary(max_size=300))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\x81\xa4type\xdb\xff\xff\xff\xff")
@example(b'{"type":"connect","session_id":"\xed\xa0\x80"}')
@example(b'{"type":"ping","id":"\\udc00"}')
@example(b'{"type":"send_message","client_message_id":"a","content":"\\udc00"}')
@example(b'{"type":"ping","id":1e999}')
@example(b"[" * 20_000)
@example(b'{"type":' + b"[" * 20_000)
@example(b'{"type":"send_message","client_message_id":"a","content":[{"a":' + b"[" * 20_000)
@example(b"\x82\xa4type\xa4ping\xa2id" + b"\x91" * 20_000)
@example(b"\x91" * 20_000)
def test_no_bytes_raise(codec: CodecName, data: bytes) -> None:
    """Whatever comes is a message or an error that may be shown, and what is read can be sent."""
    for found in decoded(codec, data):
        if isinstance(found, Rejected):
            assert found.error.code in {
                ErrorCode.BAD_REQUEST,
                ErrorCode.UNKNOWN_TYPE,
                ErrorCode.TOO_LARGE,
            }
            assert found.error.message.startswith("$")
        else:
            msgspec.json.encode(found)


@given(text=st.text(alphabet=st.characters(), max_size=50) | st.just("\ud800"))
def test_no_text_raises(text: str) -> None:
    """A text frame may hold anything a str can."""
    for codec in CODECS:
        for found in decoded(codec, text):
            assert isinstance(found, Rejected)


FAULTS = [
    ({"type": "join_conversation", "conversation_id": "a/b"}, "bad_request", "$.conversation_id"),
    ({"type": "get_conversation"}, "bad_request", "conversation_id"),
    (
        {"type": "get_conversation_history", "conversation_id": "c", "limit": 201},
        "bad_request",
        "$.limit",
    ),
    (
        {"type": "get_conversation_history", "conversation_id": "c", "limit": 0},
        "bad_request",
        "$.limit",
    ),
    (
        {"type": "send_message", "client_message_id": "", "content": ""},
        "bad_request",
        "$.client_message_id",
    ),
    ({"type": "send_message", "client_message_id": "a", "content": 5}, "bad_request", "$.content"),
    (
        {"type": "ack", "cursors": {"no id": {"epoch": "x", "offset": 1}}},
        "bad_request",
        "$.cursors",
    ),
    ({"type": "ack", "cursors": {"c": {"epoch": "x", "offset": -1}}}, "bad_request", "$.cursors"),
    (
        {"type": "ack", "cursors": {"c": {"epoch": "x", "offset": 2**53 + 1}}},
        "bad_request",
        "$.cursors",
    ),
    ({"type": "no_such_thing"}, "unknown_type", "$.type"),
    ({"type": 5}, "bad_request", "$.type"),
    ({"type": None}, "bad_request", "$.type"),
    ({}, "bad_request", "$.type"),
]


@both
@pytest.mark.parametrize("request_id", ["a", 7, "é" * 64, -(2**63)])
@pytest.mark.parametrize(("body", "code", "place"), FAULTS)
def test_a_refusal_names_the_field_and_carries_the_id(
    codec: CodecName, body: dict[str, Any], code: str, place: str, request_id: object
) -> None:
    """So that the client knows which of its requests failed, and why."""
    refused = refusal(codec, packed(codec, body | {"id": request_id}))
    assert refused.error.code == code
    assert refused.request_id == request_id
    assert place in refused.error.message


@both
@pytest.mark.parametrize("request_id", ["x" * 65, 1.5, True, [1], {}, 2**63])
def test_an_id_that_is_none_is_refused_and_not_repeated(
    codec: CodecName, request_id: object
) -> None:
    """The error tells that the id is at fault; there is nothing to reply to."""
    refused = refusal(codec, packed(codec, {"type": "ping", "id": request_id}))
    assert refused.request_id is None
    assert refused.error.message.startswith("$.id")


@both
def test_users_json_that_cannot_be_carried_is_refused_with_the_id(codec: CodecName) -> None:
    """The place is named to its leaf."""
    body = {"type": "send_message", "id": 3, "client_message_id": "a"}
    if codec == "json":
        huge = packed(codec, body | {"content": [{"n": 0}]})
        assert isinstance(huge, str)
        refused = refusal(codec, huge.replace('"n":0', f'"n":{2**64}'))
        assert refused.error.message == "$.content[0].n: an integer beyond 64 bits"
    else:
        refused = refusal(codec, packed(codec, body | {"content": [{"n": math.nan}]}))
        assert refused.error.message == "$.content[0].n: not a finite number"
    assert refused.request_id == 3


@both
def test_a_batch_is_read_item_by_item(codec: CodecName) -> None:
    """A bad item costs only itself."""
    items = [{"type": "ping", "id": 1}, {"type": "nope", "id": 2}, 5, {"type": "ping", "id": 4}]
    found = decoded(codec, packed(codec, items))
    assert [type(item).__name__ for item in found] == ["Ping", "Rejected", "Rejected", "Ping"]
    assert found[1].request_id == 2


@both
def test_a_batch_beyond_the_limit_is_refused_whole(codec: CodecName) -> None:
    """Eight pass here; nine are one error."""
    assert len(decoded(codec, packed(codec, [{"type": "ping"}] * 8))) == 8
    refused = refusal(codec, packed(codec, [{"type": "ping"}] * 9))
    assert refused.error.code == "too_large"


@both
@pytest.mark.parametrize("frame", [b"", ""], ids=["binary", "text"])
def test_an_empty_frame_and_an_empty_batch_hold_no_message(
    codec: CodecName, frame: str | bytes
) -> None:
    """They are ignored."""
    assert not DECODERS[codec].decode(frame)
    assert not DECODERS[codec].decode(packed(codec, []))


@both
def test_unknown_fields_are_ignored(codec: CodecName) -> None:
    """A newer client may say more."""
    assert only(codec, packed(codec, {"type": "ping", "id": 1, "later": [1]})).id == 1


def test_msgpack_in_a_text_frame_is_refused() -> None:
    """The codec was negotiated."""
    assert "binary" in refusal("msgpack", '{"type":"ping"}').error.message


def test_json_in_a_binary_frame_is_read() -> None:
    """Some clients cannot do otherwise."""
    assert only("json", b' {"type":"ping","id":1}').id == 1


@both
def test_agent_absent_and_agent_null_differ(codec: CodecName) -> None:
    """The default agent, or none."""
    body = {"type": "send_message", "client_message_id": "a", "content": "hi"}
    assert only(codec, packed(codec, body)).agent is msgspec.UNSET
    assert only(codec, packed(codec, body | {"agent": None})).agent is None


@both
def test_an_operators_message_is_read_once_it_is_registered(codec: CodecName) -> None:
    """The user's JSON in it is checked as in ours."""

    class Custom(Request, tag="custom", frozen=True, kw_only=True):
        payload: Any = None

    decoder = FrameDecoder(codec, [SendMessage, Custom], max_batch=8, max_depth=4)
    (read,) = decoder.decode(packed(codec, {"type": "custom", "payload": {"a": 1}}))
    assert isinstance(read, Custom)
    assert read.payload == {"a": 1}
    (deep,) = decoder.decode(packed(codec, {"type": "custom", "payload": [[[[[1]]]]]}))
    assert isinstance(deep, Rejected)
    assert "$.payload" in deep.error.message
