"""Frames to messages, in both codecs: any frame is requests, or errors that can be answered."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING

import msgpack
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import RequestError
from gateway.protocol.decoder import CodecName, DecodedBatch, FrameDecoder, Rejected
from gateway.protocol.diagnosis import Misspelling
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.messages import ErrorReply, Request
from tests.fuzz.budget import fuzz
from tests.fuzz.bytes_from_outside import any_text, anything, damaged, json_values
from tests.unit.protocol.test_codecs import REQUESTS

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

MAX_BATCH, MAX_DEPTH, MAX_NODES = 8, 16, 200
DECODERS = {
    codec: FrameDecoder(
        codec, REQUESTS, max_batch=MAX_BATCH, max_depth=MAX_DEPTH, max_nodes=MAX_NODES
    )
    for codec in ENCODERS
}
both = pytest.mark.parametrize("codec", ["json", "msgpack"])
FIELDS = sorted({name for kind in REQUESTS for name in kind.__struct_fields__})
TAGS = sorted(str(kind.__struct_config__.tag) for kind in REQUESTS)

plausible = st.one_of(
    st.sampled_from(["c_1", "m_1", "alice", "owner", "member", "private", "", "a" * 64, "a" * 65]),
    st.integers(-2, 5),
    st.sampled_from([2**53, 2**53 + 1, 2**63, -(2**63) - 1, 2**64]),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from(["alice", "bob"]), max_size=3),
    st.dictionaries(st.sampled_from(["epoch", "offset", "c_1"]), st.integers(0, 3), max_size=3),
    json_values,
)
# Fields of all requests under the tag of one: most are refused, and for every kind of reason.
messages = st.builds(
    lambda tag, fields: {"type": tag} | fields,
    st.sampled_from(TAGS) | any_text | json_values,
    st.dictionaries(st.sampled_from([*FIELDS, "tyep", ""]) | any_text, plausible, max_size=7),
)
values = messages | st.lists(messages, max_size=MAX_BATCH + 1) | json_values


def written(codec: CodecName, value: object) -> bytes:
    """A frame, written by code that is not ours and takes everything."""
    if codec == "json":
        return json.dumps(value, ensure_ascii=bool(len(repr(value)) % 2)).encode(
            "utf-8", "surrogatepass"
        )
    return msgpack.packb(_packable(value), unicode_errors="surrogatepass")


def _packable(value: object) -> object:
    """Integers that MessagePack cannot hold are floats in it."""
    if isinstance(value, dict):
        return {key: _packable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_packable(child) for child in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)
    return value


def frames(codec: CodecName) -> SearchStrategy[bytes]:
    """Frames of a codec: good, damaged, and without any form."""
    good = values.map(lambda value: written(codec, value))
    return good | damaged(good) | anything


def decoded(codec: CodecName, frame: bytes) -> list[object]:
    """What a frame means; JSON comes as text if it is UTF-8, as it does from the socket."""
    given_as: str | bytes = frame
    if codec == "json":
        try:
            given_as = frame.decode()
        except UnicodeDecodeError:
            given_as = frame
    found = DECODERS[codec].decode(given_as)
    return list(chain.from_iterable(found)) if isinstance(found, DecodedBatch) else list(found)


@both
@fuzz
@given(st.data())
def test_any_frame_is_requests_or_errors(codec: CodecName, data: st.DataObject) -> None:
    """Never an exception; never more of them than a batch may hold; and each can be answered."""
    found = decoded(codec, data.draw(frames(codec)))
    assert len([one for one in found if not isinstance(one, Misspelling)]) <= MAX_BATCH
    for one in found:
        assert isinstance(one, Request | Rejected | Misspelling)
        if isinstance(one, Rejected):
            assert isinstance(one.error, RequestError)
            assert len(str(one.error)) < 2_000
            reply = ErrorReply(
                code=one.error.code,
                message=str(one.error),
                retryable=False,
                reply_to=msgspec.UNSET if one.request_id is None else one.request_id,
            )
            for encoder in ENCODERS.values():
                encoder.encode(reply)


@both
@fuzz
@given(st.data())
def test_a_frame_that_is_refused_unread_has_the_same_ids(
    codec: CodecName, data: st.DataObject
) -> None:
    """As many answers, to the same ids, as if it had been decoded."""
    frame = data.draw(frames(codec))
    if not frame:
        return
    found = [one for one in decoded(codec, frame) if not isinstance(one, Misspelling)]
    ids = DECODERS[codec].request_ids(frame)
    if any(isinstance(one, Rejected) and "$: " in str(one.error) for one in found):
        return  # what is no message at all, or too long a batch, is one without an id
    assert len(ids) == len(found)
    for known, one in zip(ids, found, strict=True):
        expected = one.id if isinstance(one, Request) else one.request_id
        assert known == expected


@both
@fuzz
@given(st.data())
def test_what_is_accepted_is_written_back_to_the_same(
    codec: CodecName, data: st.DataObject
) -> None:
    """In both codecs: a request means one thing."""
    for one in decoded(codec, data.draw(frames(codec))):
        if isinstance(one, Request):
            as_json, packed = msgspec.json.encode(one), msgspec.msgpack.encode(one)
            assert decoded("json", as_json)[0] == one
            assert decoded("msgpack", packed)[0] == one


@fuzz
@example(b'[{"type":"ping","x":"\xa1"},{"type":"ping"}]')
@given(damaged(values.map(lambda value: written("json", value))))
def test_json_is_what_another_parser_takes_for_json(frame: bytes) -> None:
    """What the standard library cannot read is refused: no two parsers differ about a request."""
    if not any(isinstance(one, Request) for one in decoded("json", frame)):
        return
    is_batch = frame.lstrip(b" \t\r\n")[:1] == b"["  # whose bad items cost only themselves
    items = msgspec.json.decode(frame, type=list[msgspec.Raw]) if is_batch else [frame]
    for item in map(bytes, items):
        if any(isinstance(one, Request) for one in decoded("json", item)):
            json.loads(item)
