"""Runs: cancelled, answered. No agent runs here yet, so there is never one to be found."""

from __future__ import annotations

from gateway import Context, errors, handler
from gateway.messages import CancelRun, Reply, RespondToInterrupt


@handler(CancelRun)
async def cancel_run(context: Context, message: CancelRun) -> Reply:
    """Find the run among the conversation's, of which there are none."""
    await context.store.conversations.describe(context.caller, message.conversation_id)
    raise errors.NotFound("$.run_id: there is no such run")


@handler(RespondToInterrupt)
async def respond_to_interrupt(context: Context, message: RespondToInterrupt) -> Reply:
    """Find the interrupt among the conversation's, of which there are none."""
    await context.store.conversations.describe(context.caller, message.conversation_id)
    raise errors.NotFound("$.interrupt_id: there is no such interrupt")
