"""Memory, workflow and tool calls that runs write: versioned with what people write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.promises.runs.conftest import Arrive, Gateways
    from tests.promises.runs.person import Person


async def patch(person: Person, path: str, value: object) -> int:
    """Add a value to the context, again on the newest version as often as it takes."""
    while True:
        version = (await person.context())["version"]
        try:
            reply = await person.client.request(
                "update_agent_context",
                conversation_id=person.conversation,
                base_version=version,
                patch=[{"op": "add", "path": path, "value": value}],
            )
        except RefusedRequest as refused:
            assert refused.code == "version_conflict"
        else:
            changed: int = reply["version"]
            return changed


def assert_versions_are_told(person: Person, version: int) -> None:
    """Check that the log tells of every version once, in order, each on the one before."""
    events = [frame["event"] for frame in person.log.of_type("CONTEXT_UPDATED")]
    assert [event["version"] for event in events] == list(range(1, version + 1))
    assert [event["baseVersion"] for event in events] == list(range(version))


async def test_memory_of_a_run_is_a_version(stage: Gateways, arrive: Arrive) -> None:
    """STATE_DELTA and CONTEXT_UPDATED in the log, by the agent; the next run knows it."""
    alice = await arrive(stage[0])
    await alice.sees_end(await alice.ask("/remember name Ada"))
    await alice.sees_end(await alice.ask("/remember a/b~c odd"))
    context = await alice.context()
    assert (context["memory"], context["version"]) == ({"name": "Ada", "a/b~c": "odd"}, 2)
    assert_versions_are_told(alice, 2)
    told = alice.log.of_type("CONTEXT_UPDATED")[0]["event"]
    assert told["by"] == "agent:demo"
    assert told["patch"] == [{"op": "add", "path": "/memory/name", "value": "Ada"}]
    assert len(alice.log.of_type("STATE_DELTA")) == 2
    offset = alice.log.offset
    await alice.sees_end(await alice.ask("/remember name Ada"))
    assert (await alice.context())["version"] == 2, "nothing had changed"
    assert alice.log.offset > offset


async def test_workflow_steps_are_versions_in_order(stage: Gateways, arrive: Arrive) -> None:
    """Each step tells where the workflow stands, between its start and its end."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask("/workflow 5 10")
    await bob.sees_end(run_id)
    kinds = [
        frame["event"]["type"]
        for frame in bob.log.events
        if frame["event"]["type"].startswith(("STEP_", "STATE_", "CONTEXT_"))
    ]
    assert kinds == ["STEP_STARTED", "STATE_DELTA", "CONTEXT_UPDATED", "STEP_FINISHED"] * 5
    assert (await bob.context())["workflow"] == {
        "current_step": 5,
        "total_steps": 5,
        "pending_steps": [],
    }
    assert_versions_are_told(bob, 5)


async def test_patches_of_people_and_of_a_run_all_land(stage: Gateways, arrive: Arrive) -> None:
    """Two people patch while a run notes: every version on the one before, no note is lost."""
    alice, bob = await arrive(stage[0]), await arrive(stage[1], "bob")
    await bob.join(await alice.create(visibility="open"))
    run_id = await alice.ask("40 2", agent="noting")

    async def write(person: Person, name: str) -> None:
        for n in range(15):
            await patch(person, f"/memory/{name}{n}", n)

    await asyncio.gather(write(alice, "a"), write(bob, "b"))
    assert (await alice.sees_end(run_id)).outcome == "success"
    context = await alice.context()
    expected = {f"{name}{n}": n for name in "ab" for n in range(15)}
    expected |= {f"note{n}": n for n in range(40)}
    assert (context["memory"], context["version"]) == (expected, 70)
    await alice.client.heard(alice.conversation, context["position"]["offset"])
    assert_versions_are_told(alice, 70)


async def test_rollback_during_and_after_a_run(stage: Gateways, arrive: Arrive) -> None:
    """A rollback is a version like any other; the run goes on on top of it."""
    alice = await arrive(stage[0])
    run_id = await alice.ask("20 20", agent="noting")
    await alice.sees_type("CONTEXT_UPDATED", count=5)
    while True:  # a rollback loses against a version that comes at the same moment, and says so
        request = await alice.client.start(
            "rollback_agent_context", conversation_id=alice.conversation, version=2
        )
        if (await alice.client.answer_to(request))["type"] == "agent_context_updated":
            break
    await alice.sees_end(run_id)
    memory = (await alice.context())["memory"]
    assert {"note0", "note1", "note19"} <= memory.keys()
    assert not {"note2", "note3"} & memory.keys()
    reply = await alice.client.request(
        "rollback_agent_context", conversation_id=alice.conversation, version=3
    )
    context = await alice.context()
    assert context["memory"] == {"note0": 0, "note1": 1, "note2": 2}
    assert context["version"] == reply["version"] == 22
    assert_versions_are_told(alice, 22)
    versions = await alice.client.request(
        "list_context_versions", conversation_id=alice.conversation
    )
    by = {entry["version"]: entry["by"] for entry in versions["versions"]}
    assert (by[22], by[3]) == ("alice", "agent:noting")


async def test_tool_calls_are_kept_with_arguments_and_results(
    stage: Gateways, arrive: Arrive
) -> None:
    """Each is a version; the context has them in order, a snapshot too."""
    alice = await arrive(stage[0])
    for town in ("Ulm", "Aachen"):
        await alice.sees_end(await alice.ask(f'/tool weather {{"town": "{town}"}}'))
    context = await alice.context()
    assert [(c["name"], c["arguments"], c["status"]) for c in context["tool_calls"]] == [
        ("weather", '{"town": "Ulm"}', "complete"),
        ("weather", '{"town": "Aachen"}', "complete"),
    ]
    assert context["version"] == 2
    assert_versions_are_told(alice, 2)
    await alice.join(alice.conversation, cursor={"epoch": "gone", "offset": 0})
    snapshot = alice.log.snapshots[0]["context"]
    assert snapshot["tool_calls"] == context["tool_calls"]


async def test_client_that_missed_a_version_is_told_by_its_number(
    stage: Gateways, arrive: Arrive
) -> None:
    """A patch on what a run has changed since is refused with the version to read."""
    alice = await arrive(stage[0])
    await alice.sees_end(await alice.ask("/remember name Ada"))
    error: dict[str, Any] = await alice.client.refusal(
        "update_agent_context",
        conversation_id=alice.conversation,
        base_version=0,
        patch=[{"op": "add", "path": "/memory/name", "value": "Eve"}],
    )
    assert error["code"] == "version_conflict"
    assert error["details"]["version"] == 1
    assert (await alice.context())["memory"] == {"name": "Ada"}
