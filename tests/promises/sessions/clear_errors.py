"""What a clear error is, and how the end of an outage is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.support.dialling import http_url
from tests.support.eventually import eventually
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient


INTERNAL = ("redis", "valkey", "127.0.0.1", "traceback", "errno", "gw:", ".py", "hiredis", "lua")


async def status(endpoint: Endpoint, path: str) -> int:
    """Return the HTTP status of a health route."""
    async with httpx.AsyncClient(trust_env=False) as http:
        reply = await http.get(http_url(endpoint, path), timeout=10)
    return reply.status_code


async def ready_is(endpoint: Endpoint, expected: int) -> bool:
    """Whether /readyz answers with this status."""
    return await status(endpoint, "/readyz") == expected


async def recovers(client: WireClient, conversation: str, name: str) -> dict[str, object]:
    """Send one message with the same id until it is accepted."""

    async def attempt() -> dict[str, object] | None:
        try:
            return await client.say(conversation, f"text of {name}", client_message_id=name)
        except RefusedRequest as refused:
            assert refused.error["retryable"] is True
            return None

    return await eventually(attempt, what="the gateway recovers", within_s=20)


def assert_clear(error: dict[str, object], *codes: str) -> None:
    """Check that an error is one of `codes`, says that a retry helps, and shows no internals."""
    assert error["code"] in codes
    assert error["retryable"] is True
    message = str(error["message"]).lower()
    assert message
    assert not [word for word in INTERNAL if word in message]
