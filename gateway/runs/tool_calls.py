"""Tool calls on their way to the history: name and arguments gathered until the result is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.protocol.events import ToolCallArgs, ToolCallEnd, ToolCallStart
from gateway.store.runs import Change

if TYPE_CHECKING:
    from gateway.protocol.events import ToolCallResult


class ToolCalls:
    """The tool calls of one attempt.

    A record in the history is `{"toolCallId", "name", "runId", "arguments", "status", "result"}`:
    arguments and result are texts as AG-UI has them. Its first part is written when the call
    begins, and again with the arguments once they are complete, so that whoever ends a cut run can
    close it.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._arguments: dict[str, str] = {}
        self._heads: dict[str, bytes] = {}

    def change(self, event: ToolCallStart | ToolCallArgs | ToolCallEnd | ToolCallResult) -> Change:
        """What an event of a call changes."""
        data = msgspec.json.encode(event)
        call_id = event.tool_call_id
        name = msgspec.json.encode(call_id)[1:-1]  # the scripts splice it into JSON
        if isinstance(event, ToolCallStart):
            self._arguments[call_id] = ""
            self._heads[call_id] = self._head(call_id, event.tool_call_name)
            return Change("open_tool", data, name, self._heads[call_id])
        if isinstance(event, ToolCallArgs):
            self._arguments[call_id] = self._arguments.get(call_id, "") + event.delta
            return Change("event", data)
        head, arguments = self._heads.pop(call_id, None), self._arguments.pop(call_id, None)
        if isinstance(event, ToolCallEnd):
            if head is None:
                return Change("event", data)
            with_arguments = b'%b,"arguments":%b' % (head, msgspec.json.encode(arguments))
            return Change("open_tool", data, name, with_arguments)
        tail = b',"status":"complete","result":%b}' % msgspec.json.encode(event.content)
        if arguments is not None:
            tail = b',"arguments":%b%b' % (msgspec.json.encode(arguments), tail)
        return Change("end_tool", data, name, tail, msgspec.json.encode(event.content))

    def _head(self, call_id: str, name: str) -> bytes:
        record = {"toolCallId": call_id, "name": name, "runId": self._run_id}
        return msgspec.json.encode(record)[:-1]
