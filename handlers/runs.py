"""Runs: cancelled, and answered when they ask."""

from __future__ import annotations

from functools import partial

from gateway import Answer, Context, RunInput, RunRequest, check_answer, errors, handler, random_id
from gateway.protocol.messages import CancelRun, InterruptResolved, RespondToInterrupt, RunCancelled


@handler(CancelRun)
async def cancel_run(context: Context, message: CancelRun) -> RunCancelled:
    """End a run with the text it has so far; one that has ended tells how it did."""
    try:
        status = await context.store.runs.cancel(
            context.caller, message.conversation_id, message.run_id
        )
    except errors.NotFound as exc:
        raise errors.NotFound("$.run_id: there is no such run") from exc
    return RunCancelled(run_id=message.run_id, status=status)


@handler(RespondToInterrupt)
async def respond_to_interrupt(context: Context, message: RespondToInterrupt) -> InterruptResolved:
    """Answer what a run asked; the first answer counts. With the last one a new run goes on."""
    run_id, payload = random_id("r"), message.payload
    is_resolved, settings = message.status == "resolved", context.settings
    winner = await context.store.interrupts.respond(
        context.caller,
        message.conversation_id,
        Answer(message.interrupt_id, message.run_id, message.status, payload),
        request=RunRequest(run_id, "", context.ids.reply_id(run_id)),
        given=RunInput(by=context.caller.subject, resumes_run=message.run_id),
        check=partial(check_answer, payload=payload, is_resolved=is_resolved, settings=settings),
    )
    return InterruptResolved(winner=winner)
