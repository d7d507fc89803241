"""5. Brief, medium, extended, expired: all state is whole in each tier that can resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.eventually import eventually, passing

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnGateway, Store
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient

MEMORY = {"name": "Ada", "preferences": {"seat": "aisle", "extras": []}}
WORKFLOW = {"current_step": 3, "total_steps": 5, "pending_steps": ["review", "publish"]}


async def with_state(dial: Dialler, endpoint: Endpoint) -> tuple[WireClient, str]:
    """Return a connected client and its conversation, with history, memory and workflow."""
    client = await dial(endpoint)
    await client.connect()
    conversation = await client.create(participants=["bob"])
    for n in range(5):
        last = await client.say(conversation, f"message {n}")
    await client.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=0,
        patch=[
            {"op": "replace", "path": "/memory", "value": MEMORY},
            {"op": "replace", "path": "/workflow", "value": WORKFLOW},
        ],
    )
    await client.heard(conversation, last["offset"] + 1)
    return client, conversation


async def leave(dial: Dialler, endpoint: Endpoint, client: WireClient, conversation: str) -> None:
    """Close the client, and wait until the gateway has seen it go."""
    watcher = await dial(endpoint, "bob")
    await client.close()

    async def is_offline() -> bool:
        about = await watcher.request("get_conversation", conversation_id=conversation)
        return not any(p["online"] for p in about["participants"] if p["subject"] == "alice")

    await eventually(is_offline, what="alice is offline")


async def assert_whole(client: WireClient, conversation: str) -> None:
    """Check that history, memory, workflow and log are all there."""
    history = await client.history(conversation)
    assert [m["content"] for m in history] == [f"message {n}" for n in range(5)]
    context = await client.request("get_agent_context", conversation_id=conversation)
    assert (context["memory"], context["workflow"]) == (MEMORY, WORKFLOW)
    assert context["version"] == 1
    assert [m["message_id"] for m in client.log(conversation).messages] == [
        m["message_id"] for m in history
    ]


def gap_warnings(client: WireClient) -> list[dict[str, Any]]:
    """Return the `session_warning` pushes about an absence."""
    return [
        push
        for push in client.pushes
        if push["type"] == "session_warning" and push["code"].endswith("_gap")
    ]


@pytest.mark.parametrize(
    ("away_s", "freshness", "warnings"),
    [
        (0, "brief", []),
        (10, "brief", []),
        (60, "medium", ["medium_gap"]),
        (119, "medium", ["medium_gap"]),
        (125, "extended", ["extended_gap"]),
        (590, "extended", ["extended_gap"]),
    ],
)
async def test_all_state_is_whole_in_every_tier(
    in_process: InProcess, dial: Dialler, away_s: float, freshness: str, warnings: list[str]
) -> None:
    """The absence is told and warned of as its length deserves, and takes nothing away."""
    gateway = await in_process(heartbeat_s=3600)
    client, conversation = await with_state(dial, gateway)
    await leave(dial, gateway, client, conversation)
    gateway.clock.advance(away_s)

    again = await dial(gateway)
    ready = await again.restore(client)
    assert (ready["resumed"], ready["freshness"]) == (True, freshness)
    assert away_s <= ready["away_s"] < away_s + 5
    assert "resume_failure" not in ready
    await again.request("ping")
    assert [warning["code"] for warning in gap_warnings(again)] == warnings
    for warning in gap_warnings(again):
        assert warning["away_s"] == pytest.approx(ready["away_s"])
        assert warning["message"]
    await assert_whole(again, conversation)


async def test_expired_session_is_refused_and_the_conversation_stays(
    in_process: InProcess, dial: Dialler
) -> None:
    """After the lifetime a new session begins, told why; the conversation is as it was."""
    gateway = await in_process(heartbeat_s=3600)
    client, conversation = await with_state(dial, gateway)
    await leave(dial, gateway, client, conversation)
    gateway.clock.advance(605)

    again = await dial(gateway)
    ready = await again.resume(client)
    assert (ready["resumed"], ready["resume_failure"]) == (False, "expired")
    assert ready["session_id"] != client.session["session_id"]
    cursor = client.log(conversation).cursor
    joined = await again.request("join_conversation", conversation_id=conversation, cursor=cursor)
    await again.live(conversation)
    assert (joined["mode"], joined["replayed"]) == ("tail", 0)
    await assert_whole(again, conversation)


async def test_session_lives_as_long_as_its_socket_is_open(
    in_process: InProcess, dial: Dialler
) -> None:
    """The lifetime counts from leaving, not from connecting."""
    gateway = await in_process(session_ttl_s=3, heartbeat_s=0.5, heartbeat_timeout_s=30)
    client, conversation = await with_state(dial, gateway)
    await passing(4)
    await client.request("ping")
    await client.vanish()
    again = await dial(gateway)
    ready = await again.restore(client)
    assert (ready["resumed"], ready["freshness"]) == (True, "brief")
    await assert_whole(again, conversation)


async def test_tiers_with_real_short_limits(
    own_gateway: OwnGateway, dial: Dialler, store: Store
) -> None:
    """No injected time: a process with lifetimes of seconds goes through all four tiers."""
    gateway = await own_gateway(brief_s=1, medium_s=2, session_ttl_s=3.5, heartbeat_s=60)
    client, conversation = await with_state(dial, gateway)
    await store.eventually_has(f"*{client.session['session_id']}*")
    for away_s, freshness in ((0.0, "brief"), (1.3, "medium"), (2.4, "extended")):
        await leave(dial, gateway, client, conversation)
        await passing(away_s)
        again = await dial(gateway)
        ready = await again.restore(client)
        assert (ready["resumed"], ready["freshness"]) == (True, freshness)
        await again.request("ping")
        expected = [] if freshness == "brief" else [f"{freshness}_gap"]
        assert [warning["code"] for warning in gap_warnings(again)] == expected
        await assert_whole(again, conversation)
        client = again

    await leave(dial, gateway, client, conversation)
    session_id = client.session["session_id"]
    await store.eventually_lacks(f"*{session_id}*")
    last = await dial(gateway)
    ready = await last.resume(client)
    assert (ready["resumed"], ready["resume_failure"]) == (False, "expired")
    history = await last.history(conversation)
    assert [m["content"] for m in history] == [f"message {n}" for n in range(5)]
