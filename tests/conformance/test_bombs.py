"""Frames that once took much more memory or time than their size: refused, or no longer dear."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from gateway.errors import RequestError
from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

CODECS = ("json", "msgpack")
MB = 1_000_000
MAX_NODES = 20_000


def nested(leaves: int, *, levels: int = 60, key: str = "k" * 200) -> dict[str, Any]:
    """Return many numbers under keys that make a long path to each."""
    value: Any = [1] * leaves
    for _ in range(levels):
        value = {key: value}
    inner: dict[str, Any] = value
    return inner


def in_each_field(conversation: str, bomb: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return requests that carry it in each field that is the user's own JSON, by that field."""
    named = {"conversation_id": conversation}
    patch = [{"op": "add", "path": "/memory/bomb", "value": bomb}]
    answer = {"run_id": "r_1", "interrupt_id": "i_1", "status": "resolved", "payload": bomb}
    return {
        "$.metadata": ("create_conversation", {"metadata": bomb}),
        "$.content": (
            "send_message",
            named | {"client_message_id": "m", "content": [bomb], "agent": None},
        ),
        "$.patch": ("update_agent_context", named | {"base_version": 0, "patch": patch}),
        "$.payload": ("respond_to_interrupt", named | answer),
    }


@pytest.mark.parametrize("codec", CODECS)
async def test_long_paths_to_many_values_take_no_memory(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """35 KB that took 363 MB: to check them, and to patch a context that holds them."""
    gateway = await in_process()
    alice = await dial(gateway, codec=codec)
    conversation = await alice.create()
    add = {"op": "add", "path": "/memory/bomb", "value": nested(10_000)}
    small = {"op": "add", "path": "/memory/small", "value": 1}
    tracemalloc.start()
    try:
        for version, operation in enumerate((add, small)):
            reply = await alice.request(
                "update_agent_context",
                conversation_id=conversation,
                base_version=version,
                patch=[operation],
            )
            assert reply["version"] == version + 1
        assert tracemalloc.get_traced_memory()[1] < 30 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", CODECS)
async def test_too_many_values_are_refused_in_every_field(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """`too_large`, which names the field; the connection lives."""
    gateway = await in_process()
    alice = await dial(gateway, codec=codec)
    conversation = await alice.create()
    for field, (kind, fields) in in_each_field(conversation, {"x": [1] * MAX_NODES}).items():
        error = await alice.refusal(kind, **fields)
        assert (error["code"], error["retryable"]) == ("too_large", False), field
        assert error["message"] == f"{field}: has more than {MAX_NODES} values"
    assert (await alice.request("ping"))["type"] == "pong"


@pytest.mark.parametrize("codec", CODECS)
async def test_long_keys_are_refused_in_every_field(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """It may have 1024 characters; what the error says of a deep place stays short."""
    gateway = await in_process()
    alice = await dial(gateway, codec=codec)
    conversation = await alice.create()
    bomb = nested(1, levels=1, key="y" * 1025)
    for _ in range(50):
        bomb = {"x" * 1024: bomb}
    for field, (kind, fields) in in_each_field(conversation, bomb).items():
        error = await alice.refusal(kind, **fields)
        assert error["code"] == "bad_request"
        assert error["message"].startswith(field)
        assert error["message"].endswith(": a key is longer than 1024 characters")
        assert len(error["message"]) < 300


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: what is in no cycle is freed without."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("codec", CODECS)
async def test_refused_message_is_freed_when_it_is_answered(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """An error that kept its traceback kept all of it: 0.9 MB for each frame of 220 KB."""
    gateway = await in_process(max_content_bytes=4_096)
    alice = await dial(gateway, codec=codec)
    conversation = await alice.create()
    bombs = [
        *in_each_field(conversation, {"x": [1] * MAX_NODES}).values(),
        *in_each_field(conversation, nested(1, levels=70)).values(),
    ]
    long = in_each_field(conversation, {"x": ["y" * 100] * 1_000})
    bombs += [long["$.metadata"], long["$.content"]]
    for kind, fields in bombs:
        await alice.refusal(kind, **fields)
    await alice.request("ping")  # what was refused last is not at work any more
    assert [each for each in gc.get_objects() if isinstance(each, RequestError)] == []


async def flood(client: WireClient, *, times: int) -> Counter[str]:
    """Send 240 KB of small numbers many times; count the codes of the answers."""
    ones = [1] * (80_000 if client.codec == "json" else 240_000)
    codes: Counter[str] = Counter()
    try:
        requests = [
            await client.start("create_conversation", metadata={"x": ones}) for _ in range(times)
        ]
        for request in requests:
            codes[(await client.answer_to(request))["code"]] += 1
    except SocketEnded:
        await client.closed()
    return codes


@pytest.mark.parametrize("codec", CODECS)
async def test_large_frames_are_charged_by_their_bytes(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """Of 100 frames of 240 KB at once 33 are decoded; who sends on is closed with 4103."""
    gateway = await in_process(requests_per_s=1, requests_burst=2000)
    mallory = await dial(gateway, codec=codec)
    await mallory.connect()
    codes = await flood(mallory, times=100)
    assert set(codes) <= {"too_large", "rate_limited"}
    assert codes["too_large"] <= 33
    assert await mallory.closed() == 4103


@pytest.mark.parametrize("codec", CODECS)
async def test_refused_large_frame_is_answered_and_taken_when_told(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """Each message of a batch is told by its id; who waits as long as told is served."""
    gateway = await in_process(requests_per_s=10, requests_burst=60)
    alice = await dial(gateway, codec=codec)
    conversation = await alice.create()
    long = {"conversation_id": conversation, "content": "x" * 60_000, "agent": None}
    batch = [{"type": "send_message", "client_message_id": f"m{n}"} | long for n in range(3)]
    first = [await alice.answer_to(request) for request in await alice.start_batch(*batch)]
    assert [reply["type"] for reply in first] == ["message_accepted"] * 3
    requests = await alice.start_batch(*batch)
    refused = [await alice.answer_to(request) for request in requests]
    assert [error["reply_to"] for error in refused] == requests
    assert [error["code"] for error in refused] == ["rate_limited"] * 3
    alone = await alice.refusal("send_message", client_message_id="alone", **long)
    assert alone["code"] == "rate_limited"
    gateway.clock.advance(alone["retry_after_ms"] / 1000)
    taken = await alice.request("send_message", client_message_id="alone", **long)
    assert taken["type"] == "message_accepted"


@pytest.mark.parametrize("codec", CODECS)
async def test_thousand_copies_in_a_large_context_are_refused_by_name(
    in_process: InProcess, dial: Dialler, codec: str
) -> None:
    """58 KB of patch that stalled everyone for 53 s; a thousand small copies are done."""
    gateway = await in_process()
    mallory = await dial(gateway, codec=codec)
    conversation = await mallory.create()
    big = {f"k{n}": "x" * 5 for n in range(10_000)}
    context = {"conversation_id": conversation}

    async def patch(version: int, *operations: dict[str, Any]) -> dict[str, Any]:
        request = await mallory.start(
            "update_agent_context", base_version=version, patch=list(operations), **context
        )
        return await mallory.answer_to(request)

    added = await patch(0, {"op": "add", "path": "/memory/big", "value": big})
    assert added["version"] == 1
    copy = {"op": "copy", "from": "/memory/big", "path": "/memory/big"}
    refused = await patch(1, *[copy] * 1000)
    assert refused["code"] == "too_large"
    place = int(refused["message"].removeprefix("$.patch[").partition("]")[0])
    assert place <= 20
    add = {"op": "add", "path": "/workflow/x", "value": 1}
    small = [{"op": "copy", "from": "/workflow/x", "path": f"/workflow/{n}"} for n in range(999)]
    assert (await patch(1, add, *small))["version"] == 2
