"""Tool calls on their way to the history: name and arguments gathered until the result is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.events import ToolCallArgs, ToolCallStart
from gateway.store.runs import Change

if TYPE_CHECKING:
    from gateway.events import ToolCallResult


class ToolCalls:
    """The tool calls of one attempt.

    A record in the history is `{"toolCallId", "name", "runId", "arguments", "status", "result"}`:
    arguments and result are texts as AG-UI has them. Its first part is written when the call
    begins, so that whoever ends a cut run can close it.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._arguments: dict[str, str] = {}

    def change(self, event: ToolCallStart | ToolCallArgs | ToolCallResult) -> Change:
        """What an event of a call changes."""
        data = msgspec.json.encode(event)
        call_id = event.tool_call_id
        if isinstance(event, ToolCallStart):
            self._arguments[call_id] = ""
            return Change("open_tool", data, call_id, self._head(call_id, event.tool_call_name))
        if isinstance(event, ToolCallArgs):
            self._arguments[call_id] = self._arguments.get(call_id, "") + event.delta
            return Change("event", data)
        arguments = self._arguments.pop(call_id, None)
        tail = b',"status":"complete","result":%b}' % msgspec.json.encode(event.content)
        if arguments is not None:
            tail = b',"arguments":%b%b' % (msgspec.json.encode(arguments), tail)
        return Change("end_tool", data, call_id, tail)

    def _head(self, call_id: str, name: str) -> bytes:
        record = {"toolCallId": call_id, "name": name, "runId": self._run_id}
        return msgspec.json.encode(record)[:-1]
