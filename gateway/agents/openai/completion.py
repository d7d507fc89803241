"""One answer of a chat completions endpoint, put together from its chunks; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.protocol.events import (
    ReasoningEnd,
    ReasoningMessageContent,
    ReasoningMessageEnd,
    ReasoningMessageStart,
    ReasoningStart,
)
from gateway.protocol.ids import random_id
from gateway.protocol.json_text import whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
    from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall

    from gateway.protocol.events import RunEvent

# Thoughts are no part of OpenAI's API: DeepSeek and vLLM call them the first, Ollama and OpenRouter
# the second.
REASONING_FIELDS = ("reasoning_content", "reasoning")


@dataclass(slots=True)
class ToolCall:
    """A call that the model asks for; `arguments` is JSON, as far as it has come."""

    call_id: str = ""
    name: str = ""
    arguments: str = ""

    def as_message(self) -> dict[str, Any]:
        """The call as a part of a prompt."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.call_id, "type": "function", "function": function}


class Completion:
    """What the model has answered so far.

    Attributes:
        text: what it said, without `opening`.
        usage: what it cost, if the endpoint tells.
        has_begun: something has come.
        is_whole: the endpoint told why the model stopped; if it did not, the answer was cut.
    """

    def __init__(self, *, opening: str = "") -> None:
        """Prepare.

        Args:
            opening: put before the first text.
        """
        self.text = ""
        self.usage: CompletionUsage | None = None
        self.has_begun = False
        self.is_whole = False
        self._opening = opening
        self._calls: dict[int, ToolCall] = {}
        self._thought_id: str | None = None

    @property
    def calls(self) -> list[ToolCall]:
        """The calls it asks for, in their order."""
        return list(self._calls.values())

    def as_message(self) -> dict[str, Any]:
        """The answer as a part of the next prompt."""
        calls = [call.as_message() for call in self.calls]
        # Both halves of a character that was cut in two have come: only now it can be encoded.
        return {"role": "assistant", "content": whole(self.text) or None, "tool_calls": calls}

    def take(self, chunk: ChatCompletionChunk) -> Iterator[str | RunEvent]:
        """Add a chunk of a stream; yields what is new."""
        self.has_begun = True
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices[:1]:
            self.is_whole = self.is_whole or choice.finish_reason is not None
            yield from self._say(choice.delta)
            for part in choice.delta.tool_calls or ():
                self._add_call(part)

    def take_whole(self, answer: ChatCompletion) -> Iterator[str | RunEvent]:
        """Take an answer that came at once; yields all of it."""
        self.has_begun = True
        self.usage = answer.usage
        for choice in answer.choices[:1]:
            self.is_whole = True
            yield from self._say(choice.message)
            for index, call in enumerate(choice.message.tool_calls or ()):
                if call.type == "function":
                    function = call.function
                    self._calls[index] = ToolCall(call.id, function.name, function.arguments)
        yield from self.close()

    def close(self) -> Iterator[RunEvent]:
        """The model stopped; yields what ends with it."""
        if self._thought_id is not None:
            yield ReasoningMessageEnd(message_id=self._thought_id)
            yield ReasoningEnd(message_id=self._thought_id)
            self._thought_id = None
        for index, call in self._calls.items():
            call.arguments = whole(call.arguments)
            call.call_id = (
                call.call_id or f"{random_id('call')}_{index}"
            )  # some endpoints give none

    def _say(self, message: ChoiceDelta | ChatCompletionMessage) -> Iterator[str | RunEvent]:
        thought = next(filter(None, (_extra(message, name) for name in REASONING_FIELDS)), "")
        if thought:
            yield from self._think(thought)
        if message.content:
            yield from self.close()
            opening, self._opening = self._opening, ""
            self.text += message.content
            yield opening + message.content

    def _think(self, thought: str) -> Iterator[RunEvent]:
        if self._thought_id is None:
            self._thought_id = random_id("m")
            yield ReasoningStart(message_id=self._thought_id)
            yield ReasoningMessageStart(message_id=self._thought_id)
        yield ReasoningMessageContent(message_id=self._thought_id, delta=thought)

    def _add_call(self, part: ChoiceDeltaToolCall) -> None:
        call = self._calls.setdefault(part.index, ToolCall())
        call.call_id = part.id or call.call_id
        if part.function is not None:
            call.name = call.name or part.function.name or ""
            call.arguments += part.function.arguments or ""


def _extra(message: ChoiceDelta | ChatCompletionMessage, name: str) -> str:
    value = (message.model_extra or {}).get(name)
    return value if isinstance(value, str) else ""
