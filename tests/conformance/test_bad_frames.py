"""What is wrong with a frame is told, naming the field; the connection lives and state is kept."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.malformed import MALFORMED_JSON, MALFORMED_MSGPACK, WRONG
from tests.support.frames import encode
from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

INVALID_DATA, TOO_BIG = 1007, 1009


# (request, the field that the message must name)


async def a_living_client(replicas: Replicas, dial: Dialler, codec: str) -> WireClient:
    """Return a client with a session."""
    client = await dial(replicas[0], codec=codec)
    await client.connect()
    return client


async def error_to(client: WireClient, frame: str | bytes) -> dict[str, Any]:
    """Send a frame as it is; return the error that answers it, then check that all is well."""
    await client.send_raw(frame)
    error = await client.push("error")
    client.pushes.remove(error)
    assert isinstance(error["message"], str)
    assert error["message"]
    assert len(error["message"]) < 500, "an error must not echo what it was sent"
    assert error["retryable"] is False
    assert (await client.request("ping"))["type"] == "pong"
    return error


@pytest.mark.parametrize("frame", MALFORMED_JSON.values(), ids=MALFORMED_JSON)
async def test_malformed_json_is_an_error_and_the_connection_lives(
    replicas: Replicas, dial: Dialler, frame: str
) -> None:
    """`bad_request` that points into the frame; nothing of it was done."""
    client = await a_living_client(replicas, dial, "json")
    error = await error_to(client, frame)
    assert error["code"] in {"bad_request", "unknown_type"}
    assert "$" in error["message"]
    listed = await client.request("list_conversations")
    assert listed["conversations"] == []


@pytest.mark.parametrize("frame", MALFORMED_MSGPACK.values(), ids=MALFORMED_MSGPACK)
async def test_malformed_msgpack_is_an_error_and_the_connection_lives(
    replicas: Replicas, dial: Dialler, frame: bytes
) -> None:
    """The same for binary frames, with what JSON cannot hold: binary, extensions, integer keys."""
    client = await a_living_client(replicas, dial, "msgpack")
    error = await error_to(client, frame)
    assert error["code"] in {"bad_request", "unknown_type"}
    assert "$" in error["message"]
    listed = await client.request("list_conversations")
    assert listed["conversations"] == []


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_wrong_fields_are_named(replicas: Replicas, dial: Dialler, codec: str) -> None:
    """Each wrong type, range or missing field: `bad_request` whose message holds its path."""
    client = await a_living_client(replicas, dial, codec)
    unnamed = []
    for request, field in WRONG:
        error = await error_to_numbered(client, request)
        parent, _, name = field.rpartition(".")
        is_named = field in error["message"] or (
            f"{parent}: " in error["message"] and f"`{name}`" in error["message"]
        )
        if error["code"] != "bad_request" or not is_named:
            unnamed.append((request, field, error["code"], error["message"]))
    assert not unnamed
    assert (await client.request("ping"))["type"] == "pong"


async def error_to_numbered(client: WireClient, request: Any) -> dict[str, Any]:
    """Send a wrong request, with an id if it can have one; return the error, checked."""
    if isinstance(request, dict) and "id" not in request:
        request_id = await client.start_as_is(request)
        error = await client.answer_to(request_id)
        assert error["reply_to"] == request_id
    else:
        await client.send_raw(encode(request, client.codec))
        error = await client.push("error")
        client.pushes.remove(error)
    assert error["type"] == "error"
    return error


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("kind", ["nonsense", "", "Ping", "ping ", "error", "event", "x" * 10_000])
async def test_unknown_type_is_told(
    replicas: Replicas, dial: Dialler, codec: str, kind: str
) -> None:
    """`unknown_type`, with the request's own id; the connection stays."""
    client = await a_living_client(replicas, dial, codec)
    error = await client.refusal(kind)
    assert (error["code"], error["retryable"]) == ("unknown_type", False)
    assert "$.type" in error["message"]
    assert len(error["message"]) < 500
    assert (await client.request("ping"))["type"] == "pong"


async def test_text_frame_that_is_not_utf8_fails_the_connection_and_not_the_session(
    replicas: Replicas, dial: Dialler
) -> None:
    """RFC 6455 section 8.1 leaves no choice for a text frame: 1007. The session resumes whole."""
    client = await a_living_client(replicas, dial, "json")
    conversation = await client.create()
    said = await client.say(conversation, "before")
    await client.heard(conversation, said["offset"])
    await client.send_raw(b'{"type":"ping","x":"\xff\xfe"}', text=True)
    assert await client.closed() == INVALID_DATA
    again = await dial(replicas[0])
    assert (await again.restore(client))["resumed"] is True


@pytest.mark.parametrize("data", [b'{"type":"\xff"}', b"\xff\xfe", b"\xc3\x28", b"\x00" * 10])
async def test_binary_frame_that_is_not_utf8_is_an_error_under_json(
    replicas: Replicas, dial: Dialler, data: bytes
) -> None:
    """In a binary frame the connection need not fail, and does not."""
    client = await a_living_client(replicas, dial, "json")
    error = await error_to(client, data)
    assert error["code"] == "bad_request"


async def test_text_frame_is_an_error_under_msgpack(replicas: Replicas, dial: Dialler) -> None:
    """Text where MessagePack was agreed on."""
    client = await a_living_client(replicas, dial, "msgpack")
    error = await error_to(client, '{"type":"ping"}')
    assert error["code"] == "bad_request"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_frame_over_the_limit_closes_with_1009(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """One byte more than told in `hello`; at the limit a frame is taken."""
    client = await a_living_client(replicas, dial, codec)
    limit = client.hello["limits"]["max_frame_bytes"]
    frame = encode({"type": "ping", "id": 999, "x": ""}, codec)
    fill = "x" * (limit - len(frame) - (0 if codec == "json" else 4))
    at_limit = encode({"type": "ping", "id": 999, "x": fill}, codec)
    assert len(at_limit) == limit
    await client.send_raw(at_limit)
    await client.until(lambda: client.faults, what="the pong to 999")
    client.faults.clear()  # a reply to a request that this client did not number itself
    assert (await client.request("ping"))["type"] == "pong"
    over = at_limit + " " if codec == "json" else at_limit + b"\x00"
    await client.send_raw(over)
    assert await client.closed() == TOO_BIG
    again = await dial(replicas[0], codec=codec)
    assert (await again.resume(client))["resumed"] is True


async def flood_with_fragments(client: WireClient) -> None:
    """Send messages of 10 MB in fragments of 50 kB."""
    for _ in range(3):
        await client.send_fragments(["x" * 50_000] * 200)
        await client.request("ping")


async def test_fragmented_frame_over_the_limit_closes_with_1009(
    replicas: Replicas, dial: Dialler
) -> None:
    """Fragments count together; 10 MB of them are not collected first."""
    client = await a_living_client(replicas, dial, "json")
    with pytest.raises(SocketEnded):
        await flood_with_fragments(client)
    assert await client.closed() == TOO_BIG


async def test_frame_in_fragments_is_one_frame(replicas: Replicas, dial: Dialler) -> None:
    """However it is cut, in the middle of a character too."""
    client = await a_living_client(replicas, dial, "json")
    conversation = await client.create()
    frame = json.dumps(
        {
            "type": "send_message",
            "conversation_id": conversation,
            "client_message_id": "m1",
            "content": "ünï🦜" * 10,
            "agent": None,
        },
        ensure_ascii=False,
    ).encode()
    await client.send_fragments([frame[n : n + 7] for n in range(0, len(frame), 7)])
    await client.until(lambda: client.log(conversation).messages, what="the message")
    assert (await client.history(conversation))[0]["content"] == "ünï🦜" * 10


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_random_frames_never_end_the_connection(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """Noise, and real requests with a byte changed: each is an error or a reply."""
    client = await a_living_client(replicas, dial, codec)
    noise = random.Random(20261121)
    seeds = [encode(request, "msgpack") for request, _ in WRONG]
    texts = [encode(request, "json") for request, _ in WRONG]
    for turn in range(400):
        if codec == "msgpack":
            frame = bytearray(noise.choice(seeds))
            frame[noise.randrange(len(frame))] = noise.randrange(256)
            await client.send_raw(noise.randbytes(20) if turn % 4 == 0 else bytes(frame))
        else:
            text = noise.choice(texts)
            at = noise.randrange(len(text))
            await client.send_raw(text[:at] + chr(noise.randrange(1, 0xD7FF)) + text[at + 1 :])
    assert (await client.request("ping"))["type"] == "pong"
    client.faults.clear()  # replies to ids that the noise made
    assert client.is_open
