"""The agent context: read, patched, listed, rolled back."""

from __future__ import annotations

from gateway import Context, ContextChange, agent_context, apply_patch_aside, errors, handler
from gateway.protocol.messages import (
    AgentContext,
    AgentContextUpdated,
    ContextVersions,
    GetAgentContext,
    ListContextVersions,
    RollbackAgentContext,
    UpdateAgentContext,
)


@handler(GetAgentContext)
async def get_agent_context(context: Context, message: GetAgentContext) -> AgentContext:
    """Memory, workflow and tool calls, at one position."""
    found = await context.store.contexts.get(context.caller, message.conversation_id)
    return agent_context(message.conversation_id, found)


@handler(UpdateAgentContext)
async def update_agent_context(
    context: Context, message: UpdateAgentContext
) -> AgentContextUpdated:
    """Patch memory and workflow; all of the patch or none of it."""
    contexts = context.store.contexts
    found = await contexts.get(context.caller, message.conversation_id)
    if found.version != message.base_version:
        raise errors.VersionConflict(found.version)
    document = await apply_patch_aside(
        found.document(),
        message.patch,
        document_bytes=found.document_bytes,
        max_bytes=context.settings.max_context_bytes,
        max_depth=context.settings.max_json_depth,
        max_nodes=context.settings.max_json_nodes,
    )
    change = ContextChange(found.version, document, message.patch)
    version = await contexts.set(context.caller, message.conversation_id, change)
    return AgentContextUpdated(conversation_id=message.conversation_id, version=version)


@handler(ListContextVersions)
async def list_context_versions(context: Context, message: ListContextVersions) -> ContextVersions:
    """The versions a rollback may go to."""
    versions = await context.store.contexts.versions(
        context.caller, message.conversation_id, limit=message.limit
    )
    return ContextVersions(conversation_id=message.conversation_id, versions=versions)


@handler(RollbackAgentContext)
async def rollback_agent_context(
    context: Context, message: RollbackAgentContext
) -> AgentContextUpdated:
    """Make a new version that equals an old one."""
    contexts = context.store.contexts
    found = await contexts.get(context.caller, message.conversation_id)
    document = await contexts.document_at(context.caller, message.conversation_id, message.version)
    patch = [
        {"op": "replace", "path": f"/{root}", "value": value} for root, value in document.items()
    ]
    change = ContextChange(found.version, document, patch)
    version = await contexts.set(context.caller, message.conversation_id, change)
    return AgentContextUpdated(conversation_id=message.conversation_id, version=version)
