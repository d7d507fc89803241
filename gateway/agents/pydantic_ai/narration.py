"""What a pydantic-ai agent does, as run events; no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_ai.messages import (
    BaseToolCallPart,
    BaseToolReturnPart,
    ModelResponse,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallEvent,
    ToolCallPartDelta,
    ToolResultEvent,
)

from gateway.protocol.events import (
    ReasoningEnd,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    ReasoningStart,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)
from gateway.protocol.ids import random_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_ai.messages import AgentStreamEvent, ModelResponsePart, ModelResponsePartDelta

    from gateway.protocol.events import RunEvent

PARAGRAPH = "\n\n"  # between what the model said before a tool call and after it


class Narration:
    """Tells a run's story once.

    The reply's text is a function of the model's responses, whether they come piece by piece
    (`tell`) or are read back from a journal (`recall`), so that a later attempt knows what an
    earlier one must have said.

    Attributes:
        text: all that the reply says so far.
        calls: ids of the tool calls told of.
    """

    def __init__(self) -> None:
        self.text = ""
        self.calls: set[str] = set()
        self._is_new = True
        self._thought_id: str | None = None
        self._call_ids: dict[int, str] = {}  # of the response's parts that are calls
        self._streamed: set[int] = set()  # those whose arguments came in pieces

    def begin_response(self) -> None:
        """The model, or a tool, begins to speak."""
        self._is_new = True
        self._streamed.clear()

    def recall(self, response: ModelResponse) -> None:
        """Take note of a response that an earlier attempt has told of."""
        self.begin_response()
        for part in response.parts:
            if isinstance(part, TextPart):
                self.say(part.content)
            elif isinstance(part, BaseToolCallPart):
                self.calls.add(part.tool_call_id)

    def say(self, text: str) -> str:
        """Add a piece of the reply; returns what is to be sent."""
        if not text:
            return ""
        opening = PARAGRAPH if self._is_new and self.text else ""
        self._is_new = False
        self.text += opening + text
        return opening + text

    def tell(self, event: AgentStreamEvent) -> Iterator[str | RunEvent]:
        """What an event means to those who read."""
        match event:
            case PartStartEvent():
                yield from self._begin_part(event.index, event.part)
            case PartDeltaEvent():
                yield from self._go_on(event.index, event.delta)
            case PartEndEvent():
                yield from self._end_part(event.index, event.part)
            case ToolCallEvent():
                yield from self._announce(event.part)
            case ToolResultEvent():
                yield _result(event.part)
            case _:
                pass

    def _begin_part(self, index: int, part: ModelResponsePart) -> Iterator[str | RunEvent]:
        match part:
            case TextPart():
                yield from filter(None, [self.say(part.content)])
            case ThinkingPart():
                self._thought_id = random_id("m")
                yield ReasoningStart(message_id=self._thought_id)
                yield ReasoningMessageStart(message_id=self._thought_id)
                yield from self._think(part.content)
            case BaseToolCallPart():
                self.calls.add(part.tool_call_id)
                self._call_ids[index] = part.tool_call_id
                yield ToolCallStart(tool_call_id=part.tool_call_id, tool_call_name=part.tool_name)
                if isinstance(part.args, str) and part.args:
                    self._streamed.add(index)
                    yield ToolCallArgs(tool_call_id=part.tool_call_id, delta=part.args)
            case BaseToolReturnPart():
                yield _result(part)
            case _:
                pass

    def _go_on(self, index: int, delta: ModelResponsePartDelta) -> Iterator[str | RunEvent]:
        match delta:
            case TextPartDelta():
                yield from filter(None, [self.say(delta.content_delta)])
            case ThinkingPartDelta():
                yield from self._think(delta.content_delta or "")
            case ToolCallPartDelta(args_delta=str(piece)) if piece:
                self._streamed.add(index)
                yield ToolCallArgs(tool_call_id=self._call_ids[index], delta=piece)
            case _:
                pass

    def _end_part(self, index: int, part: ModelResponsePart) -> Iterator[RunEvent]:
        match part:
            case ThinkingPart() if self._thought_id is not None:
                yield ReasoningMessageEnd(message_id=self._thought_id)
                yield ReasoningEnd(message_id=self._thought_id)
                self._thought_id = None
            case BaseToolCallPart():
                if index not in self._streamed:
                    yield ToolCallArgs(
                        tool_call_id=part.tool_call_id, delta=part.args_as_json_str()
                    )
                yield ToolCallEnd(tool_call_id=part.tool_call_id)
            case _:
                pass

    def _think(self, thought: str) -> Iterator[RunEvent]:
        if thought and self._thought_id is not None:
            yield ReasoningMessageContent(message_id=self._thought_id, delta=thought)

    def _announce(self, part: BaseToolCallPart) -> Iterator[RunEvent]:
        """A call is about to be made; one that was approved has not been told of in this run."""
        if part.tool_call_id in self.calls:
            return
        self.calls.add(part.tool_call_id)
        yield ToolCallStart(tool_call_id=part.tool_call_id, tool_call_name=part.tool_name)
        yield ToolCallArgs(tool_call_id=part.tool_call_id, delta=part.args_as_json_str())
        yield ToolCallEnd(tool_call_id=part.tool_call_id)


def _result(part: BaseToolReturnPart) -> ToolCallResult:
    return ToolCallResult(
        message_id=f"{part.tool_call_id}_r",
        tool_call_id=part.tool_call_id,
        content=part.model_response_str(),
    )
