"""A pydantic-ai agent's model requests and tool calls as steps of a run's journal.

Built on pydantic-ai's public interface for durable execution (`pydantic_ai.durable_exec`): the
agent's loop runs again from its start, and each step that an earlier attempt completed gives back
its recorded result instead of being done again.

A step is named by its place in the run, a tool call by its id, which comes from a recorded
response. So the loop must do the same with the same results: what is random, or reads a clock or
a database, belongs into a tool. A step may be done twice if its worker dies before the result is
in the journal: at least once, never at most once.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    EventStreamHandlerId,
    JournalCallableOperationBackend,
    ModelRequestId,
    RoleBasedOperationConfig,
)
from pydantic_ai.messages import ModelResponse
from pydantic_ai.tools import RunContext as ModelRunContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable

    from pydantic_ai.durable_exec import DurableOperationBackend, DurableOperationId
    from pydantic_ai.messages import AgentStreamEvent

    from gateway.agents.run_context import RunContext

Config = dict[str, Any]  # steps have no options
NO_CONFIG: Config = {}


class Listener(Protocol):
    """Who hears what the agent does in one attempt at a run."""

    context: RunContext

    async def hear(self, stream: AsyncIterable[AgentStreamEvent]) -> None:
        """The agent does something, now."""

    async def asks(self) -> None:
        """The model is about to be asked; no earlier attempt has its answer."""

    def recalls(self, response: ModelResponse) -> None:
        """An earlier attempt has this answer, and has told of it."""


_listener: ContextVar[Listener | None] = ContextVar("gateway_listener", default=None)


class Journal(BaseDurabilityCapability[Any]):
    """The capability that routes an agent's requests and calls through the journal.

    Inside `listening` only; anywhere else the agent runs as if it were not there.
    """

    engine_spec = DurabilityEngineSpec(
        engine_name="the gateway",
        durable_unit_noun="step",
        durable_container_noun="run",
        codec=JSON_CODEC,
        toolset_lifecycles={
            "function": "enter-always",
            "mcp": "enter-in-durable-unit",
            "dynamic": "enter-never",
        },
    )

    def __init__(self, name: str) -> None:
        super().__init__(name=name, event_stream_handler=hear)

    @property
    def in_durable_context(self) -> bool:
        """Whether a run of the gateway's is under way in this task."""
        return _listener.get() is not None

    def get_durable_operation_backend(self) -> DurableOperationBackend[Any]:
        """What does a step."""
        return _Steps(self.name)


class _Steps(JournalCallableOperationBackend[Config]):
    """Does each step once, as far as the journal knows."""

    def __init__(self, name: str) -> None:
        config = RoleBasedOperationConfig(
            model=NO_CONFIG, event=NO_CONFIG, capability=NO_CONFIG, tool=NO_CONFIG
        )
        super().__init__(agent_name=name, config=config)

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: Config,
    ) -> object:
        """Do a step, or read back what it gave."""
        del config
        listener = _listener.get()
        if listener is None or isinstance(operation_id, EventStreamHandlerId):
            return (
                await body()
            )  # telling of something is not a step: the listener knows what is told
        step, context = _step_name(name, cache_key), listener.context
        if not isinstance(operation_id, ModelRequestId):
            return await context.step(step, body, object)
        if not context.has_done(step):
            await listener.asks()
            return await context.step(step, body, object)
        payload = await context.step(step, body, object)
        listener.recalls(JSON_CODEC.load(ModelResponse, payload))
        return payload


async def hear(context: ModelRunContext[Any], stream: AsyncIterable[AgentStreamEvent]) -> None:
    """Pass on what the agent does."""
    del context
    listener = _listener.get()
    if listener is not None:
        await listener.hear(stream)


def listening(listener: Listener) -> None:
    """From here on, in this task, the agent runs for this listener."""
    _listener.set(listener)
    _counts.set({})


_counts: ContextVar[dict[str, int] | None] = ContextVar("gateway_step_counts", default=None)


def _step_name(name: str, cache_key: tuple[object, ...]) -> str:
    """The step's name in the journal; tools run side by side, so theirs must not be counted."""
    found = next((item for item in cache_key if isinstance(item, ModelRunContext)), None)
    counts = _counts.get()
    if found is not None and found.tool_call_id:
        name = f"{name}:{found.tool_call_id}"
    if counts is None:
        return name
    counts[name] = counts.get(name, 0) + 1
    return f"{name}#{counts[name]}"
