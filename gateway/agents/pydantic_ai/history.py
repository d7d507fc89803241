"""A conversation as pydantic-ai wants to read it, and what it waits for; no I/O.

pydantic-ai's own messages are not stored: they are made anew from the conversation's history and
its tool calls. So an edit or a deletion holds for the model too, another agent's replies are known,
and no participant can read the instructions or forge what the model is to believe.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolApproved, ToolDenied

from gateway.protocol.events import Interrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.store.messages import Message

Record = dict[str, Any]  # of a tool call: see gateway/runs/tool_calls.py
APPROVAL: dict[str, Any] = {  # as pydantic-ai's own AG-UI adapter asks
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "editedArgs": {"type": "object"},
        "reason": {"type": "string"},
    },
    "required": ["approved"],
    "additionalProperties": False,
}
RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {"result": {}},
    "required": ["result"],
    "additionalProperties": False,
}
NOBODY = "Nobody answered."


def model_messages(
    messages: Sequence[Message], records: Sequence[Record], *, waiting: Sequence[Record] = ()
) -> list[ModelMessage]:
    """The messages of a conversation, with the tool calls that led to them.

    A run's finished calls stand before its reply; those of a run that said nothing before the next
    reply.

    Args:
        messages: the oldest first. Those of the role `system` are left out, see `instructions`.
        records: tool calls, the oldest first.
        waiting: calls that the agent goes on from, unfinished.
    """
    runs = _runs_in(records, {message.run_id for message in messages})
    made: list[ModelMessage] = []
    for message in messages:
        if message.role == "assistant":
            while any(run == message.run_id for run, _ in runs):
                made += _calls(runs.pop(0)[1])
            made.append(ModelResponse(parts=[TextPart(message.text())]))
        elif message.role == "user":
            made.append(ModelRequest(parts=[UserPromptPart(message.text())]))
    for _, calls in runs:
        made += _calls(calls)
    if waiting:
        made.append(ModelResponse(parts=[_call(record) for record in waiting]))
    return made


def instructions(messages: Iterable[Message]) -> str | None:
    """What the conversation itself tells the model to heed."""
    return "\n\n".join(message.text() for message in messages if message.role == "system") or None


def waiting_calls(records: Iterable[Record], run_id: str | None) -> list[Record]:
    """The calls that a run left open when it asked about them."""
    latest = _latest(records)
    return [
        record
        for record in latest
        if record["runId"] == run_id and record["status"] == "interrupted" and "arguments" in record
    ]


def question(run_id: str, asked: DeferredToolRequests) -> Interrupt:
    """Ask for all calls that wait, at once: the answer starts one run, which needs all of it.

    The answer to one call is `{"approved", "editedArgs"?, "reason"?}` if it wants approval, and
    `{"result"}` if somebody else is to make it; to several, an object of these by tool call id.
    """
    schemas = {call.tool_call_id: APPROVAL for call in asked.approvals}
    schemas |= {call.tool_call_id: RESULT for call in asked.calls}
    text = ", ".join(
        f"{call.tool_name}({call.args_as_json_str()})" for call in (*asked.approvals, *asked.calls)
    )
    if len(schemas) == 1:
        ((call_id, schema),) = schemas.items()
        return Interrupt(
            id=f"i_{run_id}",
            reason="tool_call",
            message=text,
            tool_call_id=call_id,
            response_schema=schema,
        )
    several = {"type": "object", "properties": schemas, "required": list(schemas)}
    return Interrupt(id=f"i_{run_id}", reason="tool_call", message=text, response_schema=several)


def answers(waiting: Sequence[Record], answer: dict[str, Any]) -> DeferredToolResults:
    """What was answered, for each call; what was not answered is denied.

    Args:
        waiting: the calls that wait.
        answer: AG-UI's resume entry; its payload fits the schema of `question`.
    """
    results = DeferredToolResults()
    payload = answer.get("payload") if answer["status"] == "resolved" else None
    for record in waiting:
        call_id = record["toolCallId"]
        given = payload if len(waiting) == 1 else (payload or {}).get(call_id)
        if isinstance(given, dict) and "result" in given:
            results.calls[call_id] = given["result"]
        elif isinstance(given, dict) and given.get("approved") is True:
            results.approvals[call_id] = ToolApproved(override_args=given.get("editedArgs"))
        else:
            reason = given.get("reason") if isinstance(given, dict) else NOBODY
            results.approvals[call_id] = ToolDenied(reason) if reason else ToolDenied()
    return results


def _runs_in(records: Iterable[Record], in_view: set[str | None]) -> list[tuple[str, list[Record]]]:
    """The finished calls by run, from the first run whose reply is in view."""
    done = [record for record in _latest(records) if record["status"] == "complete"]
    runs = [(run, list(calls)) for run, calls in groupby(done, key=lambda record: record["runId"])]
    first = next((index for index, (run, _) in enumerate(runs) if run in in_view), len(runs))
    return runs[first:]


def _latest(records: Iterable[Record]) -> list[Record]:
    """One record a call: one that was interrupted and approved then is told of twice."""
    latest: dict[str, Record] = {}
    for record in records:
        latest.pop(record["toolCallId"], None)
        latest[record["toolCallId"]] = record
    return list(latest.values())


def _calls(records: Sequence[Record]) -> Iterator[ModelMessage]:
    yield ModelResponse(parts=[_call(record) for record in records])
    returned = [
        ToolReturnPart(record["name"], record["result"], tool_call_id=record["toolCallId"])
        for record in records
    ]
    yield ModelRequest(parts=returned)


def _call(record: Record) -> ToolCallPart:
    return ToolCallPart(record["name"], record["arguments"], record["toolCallId"])
