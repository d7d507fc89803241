"""Tests of an agent without Redis, sockets or a worker: `ask` it, and check its reply.

    reply = await ask(dice, "3")
    assert reply.text.endswith("= 10")
    assert reply.memory == {"best": 10}

What it raises is raised. `reply.ask` goes on in the same conversation, `reply.answer` answers what
the agent asked. `run_context` makes what agents and tools are given, for tests that call them by
themselves.
"""

from __future__ import annotations

import copy
import itertools
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from gateway.agents.agent import AgentError
from gateway.agents.run_context import RunContext
from gateway.errors import RequestError
from gateway.protocol.events import (
    Interrupt,
    RunEvent,
    StateDelta,
    StateSnapshot,
    TextMessageContent,
    ToolCallArgs,
    ToolCallResult,
    ToolCallStart,
)
from gateway.protocol.json_patch import apply_patch
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position
from gateway.settings import Settings
from gateway.store.messages import Message, Page
from gateway.store.run_names import RunName
from gateway.store.runs import Attempt, RunInput

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from typing import Self

    from gateway.agents.agent import Agent
    from gateway.identity.caller import Caller
    from gateway.protocol.events import TokenUsage
    from gateway.protocol.messages import Content
    from gateway.store.store import Store

TENANT, CONVERSATION, AGENT = "default", "c_test", "agent"
_LIMITS = Settings()
_NOWHERE = Position("", 0)
_numbers = itertools.count(1)


@dataclass(slots=True)
class Reply:
    """An agent's reply to one message, or to an answer.

    Attributes:
        text: all of its text.
        events: everything else it yielded, in order, but interrupts.
        interrupts: what it asked.
        memory, workflow: the agent context as it is now.
        usage: what it recorded of its models.
        journal: the results of its steps, as JSON, by their names; for `ask` with `attempt=2`.
    """

    agent: Agent
    context: RunContext
    journal: dict[str, bytes]
    _conversation: _Conversation
    text: str = ""
    events: list[RunEvent] = field(default_factory=list)
    interrupts: list[Interrupt] = field(default_factory=list)

    @property
    def memory(self) -> dict[str, Any]:
        """The memory as it is now."""
        return self.context.memory

    @property
    def workflow(self) -> dict[str, Any]:
        """The workflow as it is now."""
        return self.context.workflow

    @property
    def usage(self) -> list[TokenUsage]:
        """The tokens that the models used."""
        return self.context.usage

    async def ask(self, content: Content, *, subject: str = "alice") -> Reply:
        """Send another message in the same conversation."""
        conversation = self._conversation.after(self)
        given = RunInput(message_id=conversation.said("user", subject, content), by=subject)
        return await _run(self.agent, conversation.context(given), conversation)

    async def answer(
        self, payload: object = None, *, status: str = "resolved", subject: str = "alice"
    ) -> Reply:
        """Answer the agent's first question; a new run continues with the answer.

        Raises:
            ValueError: it asked nothing.
        """
        if not self.interrupts:
            raise ValueError("the agent asked nothing")
        entry = {"interruptId": self.interrupts[0].id, "status": status, "payload": payload}
        given = RunInput(by=subject, resume=[entry], resumes_run=self.context.run_id)
        conversation = self._conversation.after(self)
        return await _run(self.agent, conversation.context(given), conversation)


async def ask(
    agent: Agent,
    content: Content,
    *,
    subject: str = "alice",
    memory: Mapping[str, Any] | None = None,
    workflow: Mapping[str, Any] | None = None,
    attempt: int = 1,
    emitted: str = "",
    journal: Mapping[str, bytes] | None = None,
) -> Reply:
    """Send a message to an agent, and return its reply.

    Args:
        agent: as `GATEWAY_AGENTS` names it.
        content: text, or a list of parts.
        subject: who says it.
        memory: what the agent remembers; empty.
        workflow: where its workflow stands; empty.
        attempt: 2 or more: a worker has died, and the agent is called again.
        emitted: what the attempts before have said, for an agent that resumes.
        journal: what their steps gave: `Reply.journal`.

    Raises:
        AgentError: the agent's own, or that it changed its state badly.
        TypeError: it yielded what it may not.
    """
    conversation = _Conversation.of(memory, workflow, journal)
    given = RunInput(message_id=conversation.said("user", subject, content), by=subject)
    context = conversation.context(given, attempt=attempt, emitted=emitted)
    return await _run(agent, context, conversation)


def run_context(
    content: Content = "",
    *,
    subject: str = "alice",
    memory: Mapping[str, Any] | None = None,
    workflow: Mapping[str, Any] | None = None,
) -> RunContext:
    """Return the context that `ask` gives an agent for one message."""
    conversation = _Conversation.of(memory, workflow, None)
    given = RunInput(message_id=conversation.said("user", subject, content), by=subject)
    return conversation.context(given)


@dataclass(slots=True)
class _Conversation:
    """What the store is to a run: messages, context and journal, in memory."""

    document: dict[str, Any]
    journal: dict[str, bytes]
    messages: list[Message] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        memory: Mapping[str, Any] | None,
        workflow: Mapping[str, Any] | None,
        journal: Mapping[str, bytes] | None,
    ) -> Self:
        """Return one in which nobody has said anything; the test's own values are left alone."""
        document = {"memory": dict(memory or {}), "workflow": dict(workflow or {})}
        return cls(copy.deepcopy(document), dict(journal or {}))

    def after(self, reply: Reply) -> _Conversation:
        """Return the conversation as it is after a reply."""
        document = copy.deepcopy(reply.context.document)
        after = _Conversation(document, {}, list(self.messages), list(self.tool_calls))
        if reply.text:
            after.said("assistant", f"agent:{AGENT}", reply.text)
        return after

    def said(self, role: str, author: str, content: Content) -> str:
        """Add a message; returns its id."""
        message = Message(
            message_id=f"m_{next(_numbers)}",
            seq=len(self.messages) + 1,
            role=role,
            author=author,
            content=cast("str | list[dict[str, object]]", content),
            created_at=time.time(),
        )
        self.messages.append(message)
        return message.message_id

    def context(self, given: RunInput, *, attempt: int = 1, emitted: str = "") -> RunContext:
        """What the agent is given; it reads from here."""
        name = RunName(TENANT, CONVERSATION, f"r_{next(_numbers)}")
        turn = Attempt(name, "test", attempt, AGENT, "m_reply", given, emitted, 600.0, ())
        return RunContext(
            cast("Store", SimpleNamespace(messages=self)),
            turn,
            self.document,
            dict(self.journal),
            self._write_step,
            begin_anew=self._begin_anew,
            tool_calls=list(self.tool_calls),
        )

    # what `store.messages` is asked

    async def find(self, _caller: Caller, _conversation_id: str, wanted: str) -> Message | None:
        """Find one."""
        return next((one for one in self.messages if one.message_id == wanted), None)

    async def page(
        self, _caller: Caller, _conversation_id: str, *, limit: int, max_bytes: int
    ) -> Page:
        """Read the newest, whatever their size."""
        del max_bytes
        found = [JsonText(msgspec.json.encode(one)) for one in self.messages[-limit:]]
        return Page(found, len(found) < len(self.messages), _NOWHERE)

    async def _write_step(self, name: str, data: bytes) -> None:
        self.journal[name] = data

    async def _begin_anew(self) -> None:
        """There are no readers to tell."""


async def _run(agent: Agent, context: RunContext, conversation: _Conversation) -> Reply:
    reply = Reply(agent, context, conversation.journal, conversation)
    async with aclosing(cast("AsyncGenerator[object, None]", agent(context))) as said:
        async for item in said:
            match item:
                case str():
                    reply.text += item
                case TextMessageContent():
                    reply.text += item.delta
                case Interrupt():
                    reply.interrupts.append(item)
                case RunEvent():
                    reply.events.append(item)
                    _change_state(context, item)
                case _:
                    raise TypeError(f"an agent yields text, events or interrupts, not {item!r}")
    conversation.tool_calls += _calls_of(reply)
    return reply


def _change_state(context: RunContext, event: RunEvent) -> None:
    """Do to the context what a gateway does, within its limits."""
    match event:
        case StateDelta():
            patch = event.delta
        case StateSnapshot():
            patch = [
                {"op": "replace", "path": f"/{root}", "value": value}
                for root, value in event.snapshot.items()
            ]
        case _:
            return
    limits = {"max_bytes": _LIMITS.max_context_bytes, "max_depth": _LIMITS.max_json_depth}
    try:
        context.document = apply_patch(context.document, patch, **limits)
    except RequestError as exc:
        raise AgentError(f"the agent made an invalid change to its state: {exc.message}") from exc


def _calls_of(reply: Reply) -> list[dict[str, Any]]:
    """The tool calls of a reply as the conversation keeps them; open ones were interrupted."""
    records: dict[str, dict[str, Any]] = {}
    for event in reply.events:
        match event:
            case ToolCallStart():
                records[event.tool_call_id] = {
                    "toolCallId": event.tool_call_id,
                    "name": event.tool_call_name,
                    "runId": reply.context.run_id,
                    "arguments": "",
                    "status": "interrupted",
                    "result": None,
                }
            case ToolCallArgs() if event.tool_call_id in records:
                records[event.tool_call_id]["arguments"] += event.delta
            case ToolCallResult() if event.tool_call_id in records:
                records[event.tool_call_id] |= {"status": "complete", "result": event.content}
            case _:
                pass
    return list(records.values())
