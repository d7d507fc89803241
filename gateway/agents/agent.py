"""An agent: `async def reply(context): yield …`, and what happens to it when its worker dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.agents.run_context import RunContext
    from gateway.protocol.events import Interrupt, RunEvent

Takeover = Literal["restart", "resume", "fail"]


class Agent(Protocol):
    """Replies to one message.

    Yields text (`str`, a piece of the reply), run events (gateway/protocol/events.py), or at last
    an `Interrupt`: the run then ends, and a new one goes on with the answer
    (`RunContext.resume`). What it yields is stored and sent within some 50 ms. It is cancelled
    when the run is; it may catch that to clean up, not to say more.

    `takeover`, if it has it, tells what a new attempt does when the worker of the last one died:
    `restart` (the default; the reply begins anew), `resume` (the agent goes on from
    `RunContext.emitted` and its journaled steps) or `fail`.
    """

    def __call__(self, context: RunContext) -> AsyncIterator[str | RunEvent | Interrupt]:
        """Run once."""


class AgentError(GatewayError):
    """A failure whose text the participants may read; it becomes RUN_ERROR."""

    def __init__(self, message: str, *, code: str = "agent_error") -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class Refused(AgentError):
    """The agent's output is invalid; its run ends with `agent_error`, and that is logged."""


A = TypeVar("A", bound=Agent)


def agent(*, takeover: Takeover) -> Callable[[A], A]:
    """Set what a new attempt at this agent's runs does."""

    def mark(function: A) -> A:
        function.takeover = takeover  # type: ignore[attr-defined]  # an attribute of a function
        return function

    return mark


def takeover_of(function: Agent) -> Takeover:
    """What a new attempt does."""
    takeover: Takeover = getattr(function, "takeover", "restart")
    return takeover
