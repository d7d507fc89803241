"""Every key has an expiry, or a declared reason to last; and conversations do outlast sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.store.keys import KINDS
from tests.support.dialling import http_url
from tests.support.store_view import StoreView, complaint

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient


async def use_everything(dial: Dialler, gateway: Endpoint) -> WireClient:
    """Make a key of every kind that requests can make."""
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    await alice.connect()
    conversation = await alice.create(title="t", metadata={"a": 1})
    said = await alice.say(conversation, "hello")
    await alice.request("send_message", client_message_id="first", content="new", agent=None)
    invite = await alice.request("create_invite", conversation_id=conversation)
    await bob.request("join_conversation", conversation_id=conversation, invite=invite["invite"])
    unused = await alice.request("create_invite", conversation_id=conversation, uses=3, ttl_s=60)
    assert unused["invite"]
    await alice.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=0,
        patch=[{"op": "add", "path": "/memory/a", "value": 1}],
    )
    await alice.request(
        "edit_message",
        conversation_id=conversation,
        message_id=said["message_id"],
        content="edited",
    )
    await bob.send({"type": "typing", "conversation_id": conversation, "active": True})
    cursor = {"epoch": said["epoch"], "offset": said["offset"]}
    await alice.send({"type": "ack", "cursors": {conversation: cursor}})
    async with httpx.AsyncClient(trust_env=False) as http:
        header = {"Authorization": f"Bearer {dial.token('alice')}"}
        await http.post(http_url(gateway, "/v1/tickets"), headers=header)
        await http.get(http_url(gateway, "/readyz"))
    return alice


async def test_every_key_expires_or_is_declared_to_last(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """After all that a client can do, no key is undeclared, of another type, or left for ever."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url)
    alice = await use_everything(dial, gateway)
    view = StoreView(redis)
    assert await view.undeclared() == []
    made = {name for name, _, _ in await view.census()}
    assert len(made) >= 12
    again = await dial(gateway)
    await again.restore(alice)
    await again.request("ping")
    await again.close()
    assert await view.undeclared() == []


async def test_sessions_and_presence_go_and_the_conversation_stays(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """When all clients have left for good, what remains is declared to last or on its way out."""
    redis = await own_redis()
    gateway = await in_process(redis_url=redis.url, session_ttl_s=1, ticket_ttl_s=1)
    alice = await use_everything(dial, gateway)
    (conversation, *_) = list(alice.logs)
    await dial.hang_up()
    view = StoreView(redis)
    for pattern in ("*:session:*", "*:online", "*:ticket:*"):
        await view.eventually_lacks(pattern)
    late = await dial(gateway)
    assert len(await late.history(conversation)) >= 1


def test_checker_sees_a_key_that_is_left() -> None:
    """What guards the tests above and the end of the whole run does complain."""
    base = "gw:{s00}:default:c:c_1"
    assert complaint(base, "hash", -1) is None
    assert complaint(f"{base}:log", "list", 1000) is None
    assert "does not expire" in str(complaint(f"{base}:log", "list", -1))
    assert "no declared kind" in str(complaint(f"{base}:surprise", "string", 1000))
    assert "no declared kind" in str(complaint("other", "string", 1000))
    assert "declared as list" in str(complaint(f"{base}:log", "stream", 1000))
    assert "expires" in str(complaint(base, "hash", 1000))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_tells_when_it_goes_or_why_it_stays(kind: object) -> None:
    """Or both: it stays for a reason, and goes so long after that has ended."""
    assert kind.expiry or kind.lasting
