"""The `snapshot` push, and the agent context as clients get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from gateway.protocol.fitting import newest_that_fit
from gateway.protocol.messages import AgentContext, Snapshot

if TYPE_CHECKING:
    from gateway.store.contexts import AgentState
    from gateway.store.log import Cut


def snapshot_push(conversation_id: str, cut: Cut, *, max_bytes: int) -> Snapshot:
    """Build the push that replaces what a client had; the newest messages that fit."""
    snapshot = cut.snapshot
    if snapshot is None:
        raise ValueError(cut.mode)
    messages, is_cut = newest_that_fit(snapshot.messages, max_bytes=max_bytes)
    return Snapshot(
        conversation_id=conversation_id,
        epoch=cut.position.epoch,
        offset=cut.position.offset,
        messages=messages,
        has_more=snapshot.has_more or is_cut,
        context=agent_context(conversation_id, snapshot.context),
        active_run=snapshot.context.active_run or UNSET,
    )


def agent_context(conversation_id: str, context: AgentState) -> AgentContext:
    """The context as it goes to a client."""
    return AgentContext(
        conversation_id=conversation_id,
        version=context.version,
        memory=context.memory,
        workflow=context.workflow,
        tool_calls=context.tool_calls,
        active_run=context.active_run,
        interrupts=list(context.interrupts),
        position=context.position,
    )
