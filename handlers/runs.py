"""Runs: cancelled, and answered when they ask."""

from __future__ import annotations

from gateway import Context, RunInput, RunRequest, check_answer, errors, handler, random_id
from gateway.messages import CancelRun, InterruptResolved, RespondToInterrupt, RunCancelled


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
    conversation_id, interrupt_id = message.conversation_id, message.interrupt_id
    found = await context.store.contexts.get(context.caller, conversation_id)
    pending = found.interrupts if message.status == "resolved" else ()
    await check_answer(
        pending, message.run_id, interrupt_id, message.payload, settings=context.settings
    )
    entry = {"interruptId": interrupt_id, "status": message.status, "payload": message.payload}
    run_id = random_id("r")
    winner = await context.store.runs.respond(
        context.caller,
        conversation_id,
        interrupt_id,
        asked_by=message.run_id,
        request=RunRequest(run_id, "", context.ids.reply_id(run_id)),
        given=RunInput(by=context.caller.subject, resume=[entry], resumes_run=message.run_id),
    )
    return InterruptResolved(winner=winner)
