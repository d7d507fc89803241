"""The agent `openai`: any endpoint that speaks OpenAI's chat completions (OpenAI, Ollama, vLLM)."""

from __future__ import annotations

from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import openai
import structlog
from msgspec import UNSET
from openai import AsyncOpenAI

from gateway.agents import model_errors
from gateway.agents.openai.completion import Completion
from gateway.agents.openai.functions import Function
from gateway.protocol.events import (
    TokenUsage,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from msgspec import UnsetType
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionStreamOptionsParam

    from gateway.agents.agent import Takeover
    from gateway.agents.openai.completion import ToolCall
    from gateway.agents.run_context import RunContext
    from gateway.protocol.events import RunEvent
    from gateway.settings import Settings
    from gateway.store.messages import Message

OPENAI_URL = "https://api.openai.com/v1"
MAX_ROUNDS = 10  # times that the model may call tools before it must have answered
PARAGRAPH = "\n\n"  # between what the model said before a tool call and after it
_ROLES = {"assistant": "assistant", "user": "user"}  # every other role instructs: `system`
_log = structlog.get_logger(__name__)


class OpenAIAgent:
    """Answers with a model, and calls the functions it was given on the model's behalf.

    The model sees the newest `context_messages` of the conversation, each once, as text; parts
    that are not text are left out. A new attempt begins the reply anew (`restart`): a completion
    that was cut cannot be taken up again.

    Nothing is asked twice: a request whose answer was lost may have been paid for, and the
    participants can ask again. A connection is made for each run: none is left to go stale.
    """

    takeover: Takeover = "restart"

    def __init__(
        self,
        *,
        model: str,
        base_url: str = OPENAI_URL,
        api_key: str | None = None,
        instructions: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        stream: bool = True,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 60.0,
        context_messages: int = 100,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            model: its name at the endpoint.
            base_url: of the endpoint, up to and with its `/v1`.
            api_key: None for an endpoint that wants none.
            instructions: what the model is told before the conversation.
            tools: functions that the model may call, see `Function`.
            stream: whether the reply comes as the model makes it, or whole.
            connect_timeout_s: seconds to reach the endpoint.
            read_timeout_s: seconds that the endpoint may be silent; without `stream`, until the
                whole answer is there.
            context_messages: how many messages of the conversation the model sees.
        """
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._instructions = instructions
        self._functions = {function.name: function for function in map(Function, tools)}
        self._stream = stream
        self._timeout = httpx2.Timeout(read_timeout_s, connect=connect_timeout_s)
        self._context_messages = context_messages
        self._tls = httpx2.create_ssl_context()  # takes 10 ms: not for each run

    @classmethod
    def of(cls, settings: Settings) -> OpenAIAgent:
        """The agent of the `GATEWAY_OPENAI_…` settings."""
        if settings.openai_model is None:
            raise ValueError("GATEWAY_OPENAI_MODEL is not set")
        return cls(
            model=settings.openai_model,
            base_url=settings.openai_base_url or OPENAI_URL,
            api_key=settings.openai_api_key,
            instructions=settings.openai_instructions,
            stream=settings.openai_stream,
            connect_timeout_s=settings.openai_connect_timeout_s,
            read_timeout_s=settings.openai_read_timeout_s,
            context_messages=settings.openai_context_messages,
        )

    async def __call__(self, context: RunContext) -> AsyncGenerator[str | RunEvent]:
        """Answer the message."""
        prompt = await self._prompt(context)
        opening = ""
        async with self._client() as client:
            for _ in range(MAX_ROUNDS):
                completion = Completion(opening=opening)
                async with aclosing(self._complete(client, completion, prompt)) as said:
                    async for item in said:
                        yield item
                opening = PARAGRAPH if completion.text else opening
                self._record(context, completion.usage)
                if not completion.calls:
                    return
                for event in _announcing(completion.calls):
                    yield event
                results = await self._call_all(context, completion.calls)
                prompt += _as_messages(completion, results)
                for event in results:
                    yield event
        raise model_errors.too_many_rounds(MAX_ROUNDS)

    def _client(self) -> AsyncOpenAI:
        return AsyncOpenAI(
            api_key=self._api_key or "none",  # the package wants one; an endpoint may not
            base_url=self._base_url,
            timeout=self._timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(verify=self._tls, timeout=self._timeout),
        )

    async def _prompt(self, context: RunContext) -> list[dict[str, Any]]:
        if await context.message() is None:
            raise model_errors.nothing_to_answer()
        messages = await context.messages(self._context_messages)
        told = {"role": "system", "content": self._instructions}
        return [told] * bool(self._instructions) + [_as_prompt(message) for message in messages]

    async def _complete(
        self, client: AsyncOpenAI, completion: Completion, prompt: list[dict[str, Any]]
    ) -> AsyncGenerator[str | RunEvent]:
        """Ask once; yields what the model says.

        Raises:
            AgentError: the endpoint refused, failed, or was silent for too long.
        """
        asked: dict[str, Any] = {"model": self._model, "messages": prompt}
        if self._functions:
            asked["tools"] = [_as_tool(function) for function in self._functions.values()]
        with self._failures(completion):
            if self._stream:
                options: ChatCompletionStreamOptionsParam = {"include_usage": True}
                async with await client.chat.completions.create(
                    **asked, stream=True, stream_options=options
                ) as chunks:
                    async for chunk in chunks:
                        for item in completion.take(chunk):
                            yield item
            else:
                for item in completion.take_whole(await client.chat.completions.create(**asked)):
                    yield item
        for item in completion.close():
            yield item

    @contextmanager
    def _failures(self, completion: Completion) -> Iterator[None]:
        """Say in our words what went wrong."""
        try:
            yield
        except openai.APIStatusError as exc:
            _log.warning("model_refused", model=self._model, status=exc.status_code)
            raise model_errors.refused(exc.status_code) from exc
        except (openai.APITimeoutError, httpx2.TimeoutException) as exc:
            _log.warning("model_timed_out", model=self._model)
            raise model_errors.timed_out() from exc
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as exc:  # ValueError: not JSON
            _log.warning("model_failed", model=self._model, kind=type(exc).__name__)
            raise _failure(exc, has_begun=completion.has_begun) from exc
        if not completion.is_whole:
            _log.warning("model_failed", model=self._model, kind="no finish reason")
            raise model_errors.interrupted()

    async def _call_all(
        self, context: RunContext, calls: Sequence[ToolCall]
    ) -> list[ToolCallResult]:
        """Do what the model asks for, all at once."""
        results = await together(self._call(context, call) for call in calls)
        return [
            ToolCallResult(
                message_id=f"{call.call_id}_r", tool_call_id=call.call_id, content=result
            )
            for call, result in zip(calls, results, strict=True)
        ]

    async def _call(self, context: RunContext, call: ToolCall) -> str:
        function = self._functions.get(call.name)
        if function is None:
            return f"error: there is no tool {call.name}"
        return await function(context, call.arguments)

    def _record(self, context: RunContext, usage: CompletionUsage | None) -> None:
        if usage is None:
            return
        given, made = _count(usage.prompt_tokens), _count(usage.completion_tokens)
        inside = usage.prompt_tokens_details
        outside = usage.completion_tokens_details
        context.usage.append(
            TokenUsage(
                provider=urlsplit(self._base_url).hostname or UNSET,
                model=self._model,
                input_tokens=given,
                output_tokens=made,
                total_tokens=UNSET if given is UNSET or made is UNSET else given + made,
                cached_input_tokens=_count(inside and inside.cached_tokens) or UNSET,
                reasoning_tokens=_count(outside and outside.reasoning_tokens) or UNSET,
            )
        )


def _count(tokens: object) -> int | UnsetType:
    """A count as the endpoint gives it, unchecked by the package: some give none, or no number."""
    return tokens if type(tokens) is int else UNSET


def _as_prompt(message: Message) -> dict[str, Any]:
    return {"role": _ROLES.get(message.role, "system"), "content": message.text()}


def _as_tool(function: Function) -> dict[str, Any]:
    described = {
        "name": function.name,
        "description": function.description,
        "parameters": function.parameters,
    }
    return {"type": "function", "function": described}


def _announcing(calls: Sequence[ToolCall]) -> Iterator[RunEvent]:
    for call in calls:
        yield ToolCallStart(tool_call_id=call.call_id, tool_call_name=call.name)
        yield ToolCallArgs(tool_call_id=call.call_id, delta=call.arguments)
        yield ToolCallEnd(tool_call_id=call.call_id)


def _as_messages(completion: Completion, results: Sequence[ToolCallResult]) -> list[dict[str, Any]]:
    """What the model asked for and was given, as it wants to read it next."""
    given = [
        {"role": "tool", "tool_call_id": result.tool_call_id, "content": result.content}
        for result in results
    ]
    return [completion.as_message(), *given]


def _failure(exc: Exception, *, has_begun: bool) -> Exception:
    """What a failure without an HTTP status means."""
    if has_begun or not isinstance(exc, openai.APIConnectionError):
        return model_errors.interrupted()
    return model_errors.unreachable()
