"""2. Reconnection preserves agent memory, variables, workflow state and tool history."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.identity.caller import Caller
from gateway.store.contexts import ContextChange
from tests.support.stores import opened
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.conftest import Replicas
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode
    from tests.support.wire import WireClient

MEMORY: dict[str, Any] = {
    "name": "Ada",
    "language": "français 🦜",
    "variables": {
        "budget": 1499.5,
        "count": 3,
        "zero": 0,
        "half": 0.5,
        "big": 2**53 + 1,
        "negative": -7,
        "yes": True,
        "no": False,
        "nothing": None,
        "empty text": "",
        "empty list": [],
        "empty object": {},
        "nested": [{"a": []}, [[], {}], [1, [2, [3, {"deep": []}]]]],
    },
}
WORKFLOW: dict[str, Any] = {
    "name": "onboarding",
    "current_step": 3,
    "total_steps": 5,
    "pending_steps": ["review", "publish"],
    "completed_steps": ["draft", "check"],
}


def setting(**parts: object) -> list[dict[str, object]]:
    """Return a patch that sets whole parts of memory and workflow."""
    patch: list[dict[str, object]] = []
    for part, members in parts.items():
        assert isinstance(members, dict)
        patch += [
            {"op": "add", "path": f"/{part}/{name}", "value": value}
            for name, value in members.items()
        ]
    return patch


async def update(client: WireClient, conversation: str, version: int, **parts: object) -> int:
    """Set parts of the context; return the new version."""
    reply = await client.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=version,
        patch=setting(**parts),
    )
    new: int = reply["version"]
    return new


async def context_of(client: WireClient, conversation: str) -> dict[str, Any]:
    """Return `agent_context` without what belongs to this reply alone."""
    reply = await client.request("get_agent_context", conversation_id=conversation)
    return {name: value for name, value in reply.items() if name not in {"type", "reply_to"}}


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_reconnection_preserves_agent_context_on_another_replica(
    replicas: Replicas, dial: Dialler, codec: str
) -> None:
    """Memory, variables, a workflow at step 3 of 5 and its pending steps come back equal."""
    phone = await dial(replicas[0], codec=codec)
    await phone.connect()
    conversation = await phone.create()
    version = await update(phone, conversation, 0, memory=MEMORY, workflow=WORKFLOW)
    await phone.say(conversation, "step 3 is done soon")
    before = await context_of(phone, conversation)
    await phone.vanish()

    again = await dial(replicas[1], codec=codec)
    ready = await again.restore(phone)
    after = await context_of(again, conversation)
    assert ready["resumed"] is True
    assert after == before
    assert (after["version"], after["memory"], after["workflow"]) == (version, MEMORY, WORKFLOW)
    assert after["workflow"]["current_step"] == 3
    assert after["workflow"]["pending_steps"] == ["review", "publish"]


TOOL_CALLS: list[dict[str, Any]] = [
    {"toolCallId": "call_1", "name": "search", "arguments": '{"q":"ü"}', "result": "3 found"},
    {"toolCallId": "call_2", "name": "book", "arguments": "{}", "result": None, "cut": True},
]


async def test_reconnection_preserves_tool_history_on_another_replica(
    replicas: Replicas, dial: Dialler, redis_server: RedisNode
) -> None:
    """What an agent has called comes back equal, in order, beside memory and workflow.

    No request writes tool calls: they are an agent's. They are put there as an agent's run would.
    """
    phone = await dial(replicas[0])
    await phone.connect()
    conversation = await phone.create()
    document = {"memory": MEMORY, "workflow": WORKFLOW}
    change = ContextChange(0, document, setting(**document), tool_calls=TOOL_CALLS)
    async with opened(redis_server.url) as store:
        await store.contexts.set(Caller(dial.tenant, "alice"), conversation, change)
    before = await context_of(phone, conversation)
    await phone.vanish()

    again = await dial(replicas[1])
    await again.restore(phone)
    after = await context_of(again, conversation)
    assert after == before
    assert after["tool_calls"] == TOOL_CALLS
    assert (after["memory"], after["workflow"]) == (MEMORY, WORKFLOW)


async def test_context_reads_the_same_in_both_codecs(replicas: Replicas, dial: Dialler) -> None:
    """Numbers keep their kind, empty lists stay lists and empty objects objects."""
    text, binary = await dial(replicas[0]), await dial(replicas[1], codec="msgpack")
    conversation = await binary.create()
    await update(binary, conversation, 0, memory=MEMORY, workflow=WORKFLOW)
    as_text, as_binary = (
        await context_of(text, conversation),
        await context_of(binary, conversation),
    )
    assert as_text == as_binary
    assert repr(as_text["memory"]["variables"]) == repr(MEMORY["variables"])


async def test_a_patch_keeps_what_it_does_not_touch(replicas: Replicas, dial: Dialler) -> None:
    """Advancing the workflow through another replica leaves the rest as it was, bit by bit."""
    alice, desk = await dial(replicas[0]), await dial(replicas[1])
    conversation = await alice.create()
    version = await update(alice, conversation, 0, memory=MEMORY, workflow=WORKFLOW)
    await desk.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=version,
        patch=[
            {"op": "test", "path": "/workflow/current_step", "value": 3},
            {"op": "replace", "path": "/workflow/current_step", "value": 4},
            {"op": "remove", "path": "/workflow/pending_steps/0"},
            {"op": "add", "path": "/workflow/completed_steps/-", "value": "review"},
            {"op": "move", "from": "/memory/language", "path": "/memory/tongue"},
            {"op": "copy", "from": "/memory/name", "path": "/workflow/assignee"},
        ],
    )
    after = await context_of(alice, conversation)
    assert after["workflow"]["pending_steps"] == ["publish"]
    assert after["workflow"]["completed_steps"] == ["draft", "check", "review"]
    assert after["workflow"]["assignee"] == "Ada"
    assert after["memory"]["tongue"] == MEMORY["language"]
    assert repr(after["memory"]["variables"]) == repr(MEMORY["variables"])


async def test_context_changes_missed_while_away_are_replayed(
    replicas: Replicas, dial: Dialler
) -> None:
    """CONTEXT_UPDATED with its versions and patch reaches who was away when it happened."""
    alice, desk = await dial(replicas[0]), await dial(replicas[1])
    await alice.connect()
    conversation = await alice.create()
    await alice.vanish()
    version = await update(desk, conversation, 0, memory={"name": "Ada"})
    again = await dial(replicas[1])
    await again.restore(alice)
    (change,) = again.log(conversation).of_type("CONTEXT_UPDATED")
    told = change["event"]
    assert (told["baseVersion"], told["version"], told["by"]) == (0, version, "alice")
    assert told["patch"] == setting(memory={"name": "Ada"})


async def test_snapshot_carries_the_context_of_its_position(
    replicas: Replicas, dial: Dialler
) -> None:
    """Who gets a snapshot gets messages and context at one and the same offset."""
    alice = await dial(replicas[0])
    await alice.connect()
    conversation = await alice.create()
    await update(alice, conversation, 0, memory=MEMORY, workflow=WORKFLOW)
    last = await alice.say(conversation, "with context")
    await alice.heard(conversation, last["offset"])
    alice.log(conversation).epoch = "lost"
    await alice.vanish()
    again = await dial(replicas[1])
    await again.restore(alice)
    snapshot = again.log(conversation).snapshots[-1]
    assert snapshot["offset"] == last["offset"]
    assert snapshot["context"]["memory"] == MEMORY
    assert snapshot["context"]["workflow"] == WORKFLOW
    assert [m["content"] for m in snapshot["messages"]] == ["with context"]


async def test_of_many_concurrent_patches_exactly_one_wins_each_version(
    replicas: Replicas, dial: Dialler
) -> None:
    """Twenty writers with the same base version: one succeeds, the others learn the version."""
    owner = await dial(replicas[0])
    conversation = await owner.create()
    writers = [await dial(replicas[n % 2]) for n in range(20)]

    async def patch(number: int) -> int | None:
        try:
            return await update(writers[number], conversation, 0, memory={"winner": number})
        except RefusedRequest as refused:
            assert refused.code == "version_conflict"
            assert refused.error["details"]["version"] >= 1
            return None

    versions = await asyncio.gather(*(patch(number) for number in range(20)))
    winners = [number for number, version in enumerate(versions) if version is not None]
    assert len(winners) == 1
    assert (await context_of(owner, conversation))["memory"] == {"winner": winners[0]}


async def test_rollback_makes_a_new_version_equal_to_the_old_one(
    replicas: Replicas, dial: Dialler
) -> None:
    """The old state comes back whole under a new number; the versions are listed."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    first = await update(alice, conversation, 0, memory=MEMORY, workflow=WORKFLOW)
    old = await context_of(alice, conversation)
    second = await update(alice, conversation, first, memory={"name": "Grace", "extra": []})
    desk = await dial(replicas[1])
    rolled = await desk.request(
        "rollback_agent_context", conversation_id=conversation, version=first
    )
    now = await context_of(alice, conversation)
    assert rolled["version"] == now["version"] == second + 1
    assert repr((now["memory"], now["workflow"])) == repr((old["memory"], old["workflow"]))
    listed = await desk.request("list_context_versions", conversation_id=conversation)
    assert {entry["version"] for entry in listed["versions"]} >= {first, second, now["version"]}
    assert {entry["by"] for entry in listed["versions"]} == {"alice"}


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "replace", "path": "/memory/absent", "value": 1}],
        [{"op": "test", "path": "/memory/name", "value": "Eve"}],
        [{"op": "add", "path": "/tool_calls/0", "value": {}}],
        [{"op": "add", "path": "/memory/x"}],
        [{"op": "explode", "path": "/memory/x", "value": 1}],
        [{"op": "add", "path": "memory", "value": 1}],
        [{"op": "add", "path": 5, "value": 1}],
        [{"op": "add", "path": "/memory/list/99", "value": 1}],
        [{"op": "add", "path": "/memory/list/-1", "value": 1}],
        [{"op": "replace", "path": "/memory", "value": 5}],
        [{"op": "replace", "path": "", "value": {"memory": {}, "workflow": {}, "more": {}}}],
        [{"op": "remove", "path": "/workflow"}],
        [{"op": "add", "path": "/memory/half", "value": 1}, {"op": "remove", "path": "/memory/no"}],
        [{"op": "move", "from": "/memory", "path": "/memory/inside"}],
        [5],
        {"op": "add"},
    ],
    ids=lambda patch: json.dumps(patch)[:60],
)
async def test_a_bad_patch_changes_nothing_and_is_named(
    replicas: Replicas, dial: Dialler, patch: object
) -> None:
    """A patch applies whole or not at all; the error names the field at fault."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    version = await update(alice, conversation, 0, memory={"name": "Ada", "list": [1]})
    before = await context_of(alice, conversation)
    error = await alice.refusal(
        "update_agent_context", conversation_id=conversation, base_version=version, patch=patch
    )
    assert (error["code"], error["retryable"]) == ("bad_request", False)
    assert "$.patch" in error["message"]
    assert await context_of(alice, conversation) == before


async def test_a_context_without_bound_is_refused(replicas: Replicas, dial: Dialler) -> None:
    """Many small patches cannot grow it past its limit; what is there stays readable."""
    alice = await dial(replicas[0])
    conversation = await alice.create()
    version = 0
    error = None
    for n in range(100):
        try:
            version = await update(alice, conversation, version, memory={f"k{n}": "x" * 60_000})
        except RefusedRequest as refused:
            error = refused.error
            break
    assert error is not None, "6 MB of memory were taken"
    assert error["code"] == "too_large"
    assert (await context_of(alice, conversation))["version"] == version


@pytest.mark.parametrize("number", [2**63 - 1, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, 10**30])
async def test_number_that_one_codec_cannot_hold_does_not_harm_its_readers(
    replicas: Replicas, dial: Dialler, number: int
) -> None:
    """What JSON can write and MessagePack cannot is refused, or read without loss of the rest."""
    text, binary = await dial(replicas[0]), await dial(replicas[1], codec="msgpack")
    conversation = await text.create()
    try:
        await update(text, conversation, 0, memory={"number": number, "name": "Ada"})
    except RefusedRequest as refused:
        assert refused.code == "bad_request"
        assert "$.patch" in refused.message
        return
    for client in (text, binary):
        context = await context_of(client, conversation)
        assert context["memory"] == {"number": number, "name": "Ada"}
