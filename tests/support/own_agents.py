"""Agents that a test makes itself, for gateways of its own process (`GATEWAY_AGENTS`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.agents import RunContext

SETTINGS: dict[str, Any] = {
    "agents": ("own=tests.support.own_agents:agent",),
    "default_agent": "own",
}


async def agent(context: RunContext) -> AsyncIterator[str]:
    """Stand where a test puts its own agent before it starts a gateway."""
    raise NotImplementedError
    yield await context.text()
