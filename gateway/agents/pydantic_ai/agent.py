"""Any pydantic-ai agent as an agent of the gateway: `PydanticAgent(my_agent)`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pydantic_core
import structlog
from msgspec import UNSET
from pydantic_ai import capture_run_messages, exceptions
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.durable_exec import BaseDurabilityCapability
from pydantic_ai.messages import ModelResponse
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage

from gateway.agents import model_errors
from gateway.agents.agent import AgentError
from gateway.agents.pydantic_ai import history as pydantic_history
from gateway.agents.pydantic_ai.journal import Journal, hear, listening
from gateway.agents.pydantic_ai.narration import Narration
from gateway.protocol.events import Interrupt, RunEvent, TokenUsage, ToolCallResult

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator

    from pydantic_ai import Agent
    from pydantic_ai.messages import AgentStreamEvent, ModelMessage

    from gateway.agents.agent import Takeover
    from gateway.agents.run_context import RunContext

Said = str | RunEvent | Interrupt
_log = structlog.get_logger(__name__)


class PydanticAgent:
    """Answers with a pydantic-ai agent.

    The model sees the conversation as it is now, with its tool calls (gateway/agents/
    pydantic_history.py). Tools that want approval, or that somebody else is to make, become an
    interrupt if `DeferredToolRequests` is among the agent's output types. An output that is no
    text is said as JSON.

    When a worker dies, the next one takes the run up where it was (`resume`): the model's answers
    and the results of tools are in the run's journal, through pydantic-ai's own interface for
    durable execution, so that neither is asked for or paid for twice. Only an answer that was cut
    is asked for again; then the reply begins anew, with what was whole. An agent that cannot be
    journaled (a toolset without an id, another durability engine) begins anew from nothing
    (`restart`).
    """

    def __init__(
        self,
        agent: Agent[Any, Any],
        *,
        deps: Callable[[RunContext], Any] | None = None,
        context_messages: int = 100,
    ) -> None:
        """Wrap an agent.

        Args:
            agent: it needs a model, and ids for its toolsets.
            deps: makes the agent's dependencies for a run.
            context_messages: how many messages of the conversation the model sees.
        """
        self._agent = agent
        self._deps = deps
        self._context_messages = context_messages
        self._journal = _journal_for(agent)
        self.takeover: Takeover = "restart" if self._journal is None else "resume"

    async def __call__(self, context: RunContext) -> AsyncGenerator[Said]:
        """Answer the message, or go on with the answer to what was asked."""
        telling = _Telling(context, is_resuming=self.takeover == "resume")
        async with asyncio.TaskGroup() as group:
            work = group.create_task(self._work(telling), name="pydantic-ai")
            try:
                while (item := await telling.next()) is not None:
                    yield item
                    telling.taken()
            except GeneratorExit:  # nobody listens any more; inside, the group would wrap it
                work.cancel()
        if telling.failure is not None:
            raise telling.failure

    async def _work(self, telling: _Telling) -> None:
        """Run the agent. It fails by `telling.failure`, not by cancelling whoever listens."""
        listening(telling)
        try:
            with _failures():
                await self._run(telling)
        except Exception as exc:  # noqa: BLE001  # the edge of the task: raised again by its parent
            telling.failure = exc
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            telling.failure = RuntimeError("something that the agent awaited was cancelled")
        finally:
            telling.end()

    async def _run(self, telling: _Telling) -> None:
        context = telling.context
        if not context.resume and await context.message() is None:
            raise model_errors.nothing_to_answer()
        messages = await context.messages(self._context_messages)
        records = [record for record in context.tool_calls if record["runId"] != context.run_id]
        given = self._given(telling, messages, records)
        with capture_run_messages() as exchanged:
            try:
                result = await self._agent.run(
                    **given,
                    instructions=pydantic_history.instructions(messages),
                    deps=self._deps(context) if self._deps else None,
                    conversation_id=context.conversation_id,
                    run_id=context.run_id,
                    infer_name=False,
                    capabilities=[ReinjectSystemPrompt(), *filter(None, [self._journal])],
                    event_stream_handler=None if self._journal else hear,
                )
            finally:
                context.usage += _usage_of(exchanged)
        await telling.conclude(result.output)

    def _given(
        self, telling: _Telling, messages: list[Any], records: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """What the run starts with: a prompt, or the answers to what the last one asked."""
        context, make = telling.context, pydantic_history.model_messages
        if not context.resume:
            *before, asked = messages
            return {"user_prompt": asked.text(), "message_history": make(before, records)}
        waiting = pydantic_history.waiting_calls(records, context.resumes_run)
        if not waiting:
            raise AgentError("the question is no longer known", code="interrupt_lost")
        telling.knows(record["toolCallId"] for record in waiting)
        return {
            "message_history": make(messages, records, waiting=waiting),
            "deferred_tool_results": pydantic_history.answers(waiting, context.resume[0]),
        }


class _Telling:
    """One attempt's story on its way out: whoever tells a piece waits until it was taken.

    So what is in the journal has been told, and no more waits here than there are tools at work.
    """

    def __init__(self, context: RunContext, *, is_resuming: bool) -> None:
        self.context = context
        self.failure: Exception | None = None
        self._narration = Narration()
        self._queue: asyncio.Queue[Said | None] = asyncio.Queue()
        self._is_resuming = is_resuming
        self._has_asked = False

    # the side of who listens

    async def next(self) -> Said | None:
        """The next piece; None at the end."""
        return await self._queue.get()

    def taken(self) -> None:
        """The last piece is on its way."""
        self._queue.task_done()

    # the side of who tells

    async def hear(self, stream: AsyncIterable[AgentStreamEvent]) -> None:
        """Tell of what the agent does, unless an earlier attempt has."""
        self._narration.begin_response()
        async for event in stream:
            for item in self._narration.tell(event):
                if not self._is_told(item):
                    await self._tell(item)

    async def asks(self) -> None:
        """Before the first request of this attempt: what was told must be what is known.

        If an earlier attempt died while the model spoke, it told of more: that is discarded.
        """
        has_asked, self._has_asked = self._has_asked, True
        context, narration = self.context, self._narration
        if has_asked or not self._is_resuming:
            return
        if context.emitted != narration.text or context.open_tools - narration.calls:
            await context.begin_anew()
            if narration.text:
                await self._tell(narration.text)

    def recalls(self, response: ModelResponse) -> None:
        """An earlier attempt has told of this."""
        self._narration.recall(response)

    def knows(self, call_ids: Iterable[str]) -> None:
        """These calls wait; those that an earlier attempt has told of are not told of again."""
        context = self.context
        self._narration.calls |= {
            one for one in call_ids if one in context.open_tools or context.has_done(one)
        }

    async def conclude(self, output: object) -> None:
        """Tell of the result, as far as it has not been told."""
        narration = self._narration
        if isinstance(output, DeferredToolRequests):
            await self._tell(pydantic_history.question(self.context.run_id, output))
            return
        if isinstance(output, str) and narration.text:
            return
        told = len(narration.text)
        narration.begin_response()
        narration.say(output if isinstance(output, str) else _as_json(output))
        if not self._has_asked:  # all was in the journal, and this may have been told too
            told = max(told, len(self.context.emitted))
        if narration.text[told:]:
            await self._tell(narration.text[told:])

    def end(self) -> None:
        """Nothing more comes."""
        self._queue.put_nowait(None)

    async def _tell(self, item: Said) -> None:
        self._queue.put_nowait(item)
        await self._queue.join()

    def _is_told(self, item: Said) -> bool:
        return (
            self._is_resuming
            and isinstance(item, ToolCallResult)
            and self.context.has_done(item.tool_call_id)
        )


def _journal_for(agent: Agent[Any, Any]) -> Journal | None:
    """The capability that journals this agent's runs, or None if they cannot be."""
    if BaseDurabilityCapability.from_agent(agent) is not None:
        return None
    journal = Journal(agent.name or "agent")
    try:
        journal.for_agent(agent)
    except exceptions.UserError as exc:
        _log.warning("agent_not_journaled", agent=agent.name, problem=str(exc))
        return None
    return journal


@contextmanager
def _failures() -> Iterator[None]:
    """Say in our words what went wrong with the model; anything else is the agent's own."""
    try:
        yield
    except exceptions.ModelHTTPError as exc:
        _log.warning("model_refused", model=exc.model_name, status=exc.status_code)
        raise model_errors.refused(exc.status_code) from exc
    except (exceptions.ModelTimeoutError, exceptions.ModelRequestTimeout) as exc:
        raise model_errors.timed_out() from exc
    except exceptions.ModelConnectionError as exc:
        raise model_errors.unreachable() from exc
    except exceptions.ModelAPIError as exc:
        _log.warning("model_failed", model=exc.model_name, kind=type(exc).__name__)
        raise model_errors.failed() from exc
    except exceptions.UsageLimitExceeded as exc:
        raise AgentError("the agent reached its usage limit", code="usage_limit") from exc
    except exceptions.UnexpectedModelBehavior as exc:
        _log.warning("model_misbehaved", kind=type(exc).__name__)
        raise AgentError("the model's answer could not be used", code="model_misbehaved") from exc


def _usage_of(messages: Iterable[ModelMessage]) -> list[TokenUsage]:
    """What each model used."""
    used: defaultdict[tuple[str | None, str | None], RunUsage] = defaultdict(RunUsage)
    for message in messages:
        if isinstance(message, ModelResponse) and message.usage.has_values():
            used[message.provider_name, message.model_name] += message.usage
    return [
        TokenUsage(
            provider=provider or UNSET,
            model=model or UNSET,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
            cached_input_tokens=usage.cache_read_tokens or UNSET,
            cache_write_input_tokens=usage.cache_write_tokens or UNSET,
        )
        for (provider, model), usage in used.items()
    ]


def _as_json(output: object) -> str:
    return pydantic_core.to_json(output).decode()
