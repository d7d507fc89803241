"""Frames and requests that are wrong, each in one way."""

from __future__ import annotations

import struct
from typing import Any

import msgpack

DEEP = 10_000


def nested_number(around: str) -> str:
    """Return a JSON text with an integer of 5,000 digits."""
    return around % ("9" * 5_000)


def nested_json(around: str = "%s") -> str:
    """Return a JSON text 10,000 levels deep."""
    return around % ("[" * DEEP + "]" * DEEP)


MALFORMED_JSON: dict[str, str] = {
    "truncated object": '{"type":"ping"',
    "truncated text": '{"type":"pi',
    "truncated number": '{"type":"get_conversation_history","limit":1.',
    "not JSON": "hello",
    "trailing words": '{"type":"ping"} {"type":"ping"}',
    "trailing comma": '{"type":"ping",}',
    "single quotes": "{'type':'ping'}",
    "a comment": '{"type":"ping"/* */}',
    "bare NaN": "NaN",
    "only space": "   ",
    "byte order mark": '\ufeff{"type":"ping"}',
    "control character": '{"type":"ping","x":"\x01"}',
    "deep array": nested_json(),
    "deep unfinished": "[" * DEEP,
    "deep object": '{"a":' * DEEP + "1" + "}" * DEEP,
    "deep ignored field": nested_json('{"type":"ping","x":%s}'),
    "deep content": nested_json(
        '{"type":"send_message","client_message_id":"m","agent":null,"content":[{"x":%s}]}'
    ),
    "NaN": '{"type":"get_conversation_history","conversation_id":"c","limit":NaN}',
    "Infinity": '{"type":"get_conversation_history","conversation_id":"c","limit":-Infinity}',
    "NaN in content": '{"type":"send_message","client_message_id":"m","content":[{"x":NaN}]}',
    "lone surrogate in metadata": '{"type":"create_conversation","metadata":{"\\ud800":1}}',
    "lone surrogate in title": '{"type":"create_conversation","title":"\\ud800"}',
    "huge integer in metadata": '{"type":"create_conversation","metadata":{"x":%s}}'
    % ("9" * 5_000),
    "deep metadata": nested_json('{"type":"create_conversation","metadata":{"x":%s}}'),
    "NaN in metadata": '{"type":"create_conversation","metadata":{"x":NaN}}',
    "huge exponent in metadata": '{"type":"create_conversation","metadata":{"x":1e999}}',
    "lone surrogate": '{"type":"\\ud800"}',
    "lone surrogate in content": (
        '{"type":"send_message","client_message_id":"m","agent":null,"content":"\\udc00"}'
    ),
    "huge integer": '{"type":"get_conversation_history","conversation_id":"c","limit":%s}'
    % ("9" * 5_000),
    "huge exponent": '{"type":"get_conversation_history","conversation_id":"c","limit":1e999}',
}


MALFORMED_MSGPACK: dict[str, bytes] = {
    "truncated map": b"\x82\xa4type\xa4ping",
    "truncated text": b"\x81\xa4type\xa9ping",
    "truncated length": b"\xdb\x00\x00",
    "text that is not UTF-8": b"\x81\xa4type\xa4\xff\xfe\xfd\xfc",
    "key that is not UTF-8": msgpack.packb(
        {"type": "send_message", "client_message_id": "m", "agent": None, "content": [{"XX": 1}]}
    ).replace(b"XX", b"\xff\xfe"),
    "metadata key that is not UTF-8": msgpack.packb(
        {"type": "create_conversation", "metadata": {"XX": {"YY": "ZZ"}}}
    ).replace(b"YY", b"\xff\xfe"),
    "metadata that is not UTF-8": msgpack.packb(
        {"type": "create_conversation", "metadata": {"XX": {"YY": "ZZ"}}}
    ).replace(b"ZZ", b"\xff\xfe"),
    "integer key in metadata": msgpack.packb({"type": "create_conversation", "metadata": {5: 1}}),
    "binary in metadata": msgpack.packb({"type": "create_conversation", "metadata": {"a": b"x"}}),
    "binary in a patch": msgpack.packb(
        {
            "type": "update_agent_context",
            "conversation_id": "c",
            "base_version": 0,
            "patch": [{"op": "add", "path": "/memory/x", "value": b"x"}],
        }
    ),
    "content that is not UTF-8": msgpack.packb(
        {"type": "send_message", "client_message_id": "m", "agent": None, "content": "X" * 8}
    ).replace(b"X" * 8, b"\xc3\x28" * 4),
    "reserved byte": b"\xc1",
    "trailing bytes": msgpack.packb({"type": "ping"}) + b"\x00",
    "deep array": b"\x91" * DEEP + b"\xc0",
    "deep unfinished": b"\x91" * DEEP,
    "deep map": b"\x81\xa1a" * DEEP + b"\xc0",
    "deep ignored field": b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * DEEP + b"\xc0",
    "NaN": msgpack.packb(
        {"type": "get_conversation_history", "conversation_id": "c", "limit": float("nan")}
    ),
    "NaN in content": msgpack.packb(
        {
            "type": "send_message",
            "client_message_id": "m",
            "agent": None,
            "content": [{"x": float("nan")}],
        }
    ),
    "infinity in content": msgpack.packb(
        {
            "type": "send_message",
            "client_message_id": "m",
            "agent": None,
            "content": [{"x": float("-inf")}],
        }
    ),
    "binary in content": msgpack.packb(
        {
            "type": "send_message",
            "client_message_id": "m",
            "agent": None,
            "content": [{"x": b"\x00\xff"}],
        }
    ),
    "extension in content": msgpack.packb(
        {
            "type": "send_message",
            "client_message_id": "m",
            "agent": None,
            "content": [{"x": msgpack.ExtType(5, b"abc")}],
        }
    ),
    "timestamp in content": msgpack.packb(
        {
            "type": "send_message",
            "client_message_id": "m",
            "agent": None,
            "content": [{"x": msgpack.Timestamp(1, 2)}],
        }
    ),
    "integer key": msgpack.packb({"type": "ping", 5: "x"}),
    "integer key in content": msgpack.packb(
        {
            "type": "send_message",
            "client_message_id": "m",
            "agent": None,
            "content": [{5: "x"}],
        }
    ),
    "type as binary": msgpack.packb({"type": b"ping"}),
    "claims 4 GiB of array": b"\xdd\xff\xff\xff\xff",
    "claims 4 GiB of map": b"\xdf\xff\xff\xff\xff",
    "claims 4 GiB of text": b"\xdb\xff\xff\xff\xff",
    "claims 4 GiB of binary": b"\xc6\xff\xff\xff\xff",
    "huge unsigned": b"\x83\xa4type\xb8get_conversation_history\xafconversation_id\xa1c\xa5limit"
    b"\xcf" + struct.pack(">Q", 2**64 - 1),
}


WRONG: list[tuple[Any, str]] = [
    (5, "$"),
    ("ping", "$"),
    (None, "$"),
    (True, "$"),
    ({}, "$.type"),
    ({"type": 5}, "$.type"),
    ({"type": None}, "$.type"),
    ({"type": ["ping"]}, "$.type"),
    ({"type": "ping", "id": 1.5}, "$.id"),
    ({"type": "ping", "id": True}, "$.id"),
    ({"type": "ping", "id": "x" * 65}, "$.id"),
    ({"type": "ping", "id": []}, "$.id"),
    ({"type": "get_conversation"}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": 5}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": ""}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "x" * 65}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "../secret"}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "c_1\n"}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "c*"}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "{s00}"}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "c:log"}, "$.conversation_id"),
    ({"type": "get_conversation", "conversation_id": "ü"}, "$.conversation_id"),
    ({"type": "get_conversation_history", "conversation_id": "c", "limit": "5"}, "$.limit"),
    ({"type": "get_conversation_history", "conversation_id": "c", "limit": 0}, "$.limit"),
    ({"type": "get_conversation_history", "conversation_id": "c", "limit": -1}, "$.limit"),
    ({"type": "get_conversation_history", "conversation_id": "c", "limit": 201}, "$.limit"),
    ({"type": "get_conversation_history", "conversation_id": "c", "limit": 2**63}, "$.limit"),
    ({"type": "get_conversation_history", "conversation_id": "c", "limit": 1.5}, "$.limit"),
    ({"type": "get_conversation_history", "conversation_id": "c", "before": -5}, "$.before"),
    ({"type": "get_conversation_history", "conversation_id": "c", "before": 2**63}, "$.before"),
    ({"type": "get_conversation_history", "conversation_id": "c", "after": [1]}, "$.after"),
    ({"type": "send_message", "content": "x", "agent": None}, "$.client_message_id"),
    ({"type": "send_message", "client_message_id": "", "content": "x"}, "$.client_message_id"),
    (
        {"type": "send_message", "client_message_id": "m" * 65, "content": "x"},
        "$.client_message_id",
    ),
    ({"type": "send_message", "client_message_id": 5, "content": "x"}, "$.client_message_id"),
    ({"type": "send_message", "client_message_id": "m"}, "$.content"),
    ({"type": "send_message", "client_message_id": "m", "content": 5}, "$.content"),
    ({"type": "send_message", "client_message_id": "m", "content": None}, "$.content"),
    ({"type": "send_message", "client_message_id": "m", "content": {"a": 1}}, "$.content"),
    ({"type": "send_message", "client_message_id": "m", "content": ["a"]}, "$.content[0]"),
    (
        {"type": "send_message", "client_message_id": "m", "content": "x", "if_running": "maybe"},
        "$.if_running",
    ),
    ({"type": "send_message", "client_message_id": "m", "content": "x", "agent": 5}, "$.agent"),
    ({"type": "create_conversation", "participants": "bob"}, "$.participants"),
    ({"type": "create_conversation", "participants": ["bob", 5]}, "$.participants[1]"),
    ({"type": "create_conversation", "visibility": "public"}, "$.visibility"),
    ({"type": "create_conversation", "title": ["t"]}, "$.title"),
    ({"type": "create_conversation", "metadata": []}, "$.metadata"),
    ({"type": "join_conversation", "conversation_id": "c", "cursor": 5}, "$.cursor"),
    (
        {"type": "join_conversation", "conversation_id": "c", "cursor": {"epoch": "x"}},
        "$.cursor",
    ),
    (
        {
            "type": "join_conversation",
            "conversation_id": "c",
            "cursor": {"epoch": "x", "offset": -1},
        },
        "$.cursor.offset",
    ),
    (
        {
            "type": "join_conversation",
            "conversation_id": "c",
            "cursor": {"epoch": "x", "offset": 2**60},
        },
        "$.cursor.offset",
    ),
    (
        {"type": "update_agent_context", "conversation_id": "c", "base_version": 0, "patch": "x"},
        "$.patch",
    ),
    (
        {"type": "update_agent_context", "conversation_id": "c", "base_version": "0", "patch": []},
        "$.base_version",
    ),
    ({"type": "refresh_token"}, "$.token"),
    ({"type": "refresh_token", "token": 5}, "$.token"),
    ({"type": "ack", "cursors": []}, "$.cursors"),
    ({"type": "ack"}, "$.cursors"),
    ({"type": "typing", "conversation_id": "c", "active": "yes"}, "$.active"),
    (
        {"type": "add_participant", "conversation_id": "c", "subject": "s", "role": "king"},
        "$.role",
    ),
    ({"type": "create_invite", "conversation_id": "c", "uses": 0}, "$.uses"),
    ({"type": "list_conversations", "limit": 1000}, "$.limit"),
    ({"type": "connect", "cursors": {"c": 5}}, "$.cursors"),
    ({"type": "connect", "session_id": 5}, "$.session_id"),
]
