"""One attempt at a run: the agent's events go out, and the run ends in exactly one way."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec
import structlog
from msgspec import UNSET

from gateway.agents.agent import AgentError, takeover_of
from gateway.agents.run_context import RunContext
from gateway.agents.tool_calls import ToolCalls
from gateway.emitter import RETRY_S, Emitter, plain
from gateway.errors import BadRequest, StoreUnavailable
from gateway.events import (
    Custom,
    Interrupt,
    Outcome,
    RunError,
    RunEvent,
    RunFinished,
    StateDelta,
    StateSnapshot,
    TextMessageContent,
    ToolCallArgs,
    ToolCallResult,
    ToolCallStart,
)
from gateway.patching import apply_patch
from gateway.store.runs import Change, Ending, LeaseLost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from msgspec import UnsetType

    from gateway.agents.agent import Agent
    from gateway.clock import Clock
    from gateway.events import TokenUsage
    from gateway.settings import Settings
    from gateway.store.runs import Attempt
    from gateway.store.store import Store

Yielded = str | RunEvent | Interrupt
ANSWERABLE_S = 7 * 86_400.0  # how long an interrupt waits for its answer
_log = structlog.get_logger(__name__)


class Execution:
    """Runs an agent for one attempt. `run` returns when the attempt is over, however it ended."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        attempt: Attempt,
        agent: Agent | None,
        *,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._store = store
        self._settings = settings
        self._attempt = attempt
        self._agent = agent
        self._emitter = Emitter(store.runs, attempt)
        self._tools = ToolCalls(attempt.name.run_id)
        self._context: RunContext | None = None
        self.is_ending = False

    async def run(self) -> None:
        """Attempt the run, and end it unless somebody else has or it was given back."""
        log = _log.bind(run_id=self._attempt.name.run_id, attempt=self._attempt.number)
        try:
            ending = await self._attempt_it()
            await self._finish(ending)
            log.info("run_ended", status=ending.status)
        except LeaseLost:
            log.info("run_lost")

    async def _attempt_it(self) -> Ending:
        try:
            async with asyncio.timeout(max(0.0, self._attempt.time_left_s)):
                return await self._with_flusher()
        except TimeoutError:
            limit_s = self._settings.run_timeout_s
            return self._failed(f"the run took longer than {limit_s:g} s", "timeout")
        except AgentError as exc:
            return self._failed(exc.message, exc.code)
        except BadRequest as exc:
            return self._failed(f"the agent changed its state badly: {exc.message}", "agent_error")
        except (LeaseLost, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001  # the edge: an agent's bug costs its own run only
            _log.exception("agent_failed", agent=self._attempt.agent)
            return self._failed("the agent failed; it has been logged", "agent_error")

    async def _with_flusher(self) -> Ending:
        if self._agent is None:
            raise AgentError(f"there is no agent {self._attempt.agent!r} here", code="no_agent")
        await self._take_over(self._agent)
        try:
            async with asyncio.TaskGroup() as group:
                flusher = group.create_task(self._emitter.run(), name="run-flusher")
                agent = group.create_task(self._drive(self._agent), name="run-agent")
                interrupts = await agent
                flusher.cancel()
        except BaseExceptionGroup as several:
            raise _most_telling(several) from several
        await self._emitter.flush()
        return self._succeeded(interrupts)

    async def _take_over(self, agent: Agent) -> None:
        """What a later attempt does before the agent goes on."""
        attempt = self._attempt
        policy = takeover_of(agent)
        if attempt.number == 1 or policy == "resume":
            return
        if policy == "fail":
            raise AgentError("the worker of this run was lost", code="worker_lost")
        ids = await self._store.ids()
        fresh = ids.reply_id(attempt.name.run_id, attempt.number)
        event = Custom(
            name="run_restarted",
            value={"runId": attempt.name.run_id, "discardedMessageId": attempt.message_id},
        )
        await self._emitter.change(Change("reset", msgspec.json.encode(event), fresh))
        await self._emitter.flush()
        self._emitter.message_id = fresh
        self._attempt = replace(attempt, message_id=fresh, emitted="", open_tools=())

    async def _drive(self, agent: Agent) -> list[Interrupt]:
        """Let the agent speak; returns what it asks at the end."""
        context = self._context = await self._make_context()
        interrupts: list[Interrupt] = []
        async with aclosing(cast("AsyncGenerator[Yielded, None]", agent(context))) as said:
            async for item in said:
                if isinstance(item, Interrupt):
                    interrupts.append(item)
                else:
                    await self._say(item)
        return interrupts

    async def _make_context(self) -> RunContext:
        name = self._attempt.name
        found = await self._store.contexts.get(name.caller, name.conversation_id)
        journal: dict[str, bytes] = {}
        if self._attempt.number > 1:
            journal = await self._store.runs.journal(name)
        return RunContext(
            self._store, self._attempt, found.document(), journal, write_step=self._write_step
        )

    async def _write_step(self, name: str, result: bytes) -> None:
        await self._emitter.change(Change("journal", b"", name, result))
        await self._emitter.flush()

    async def _say(self, item: str | RunEvent) -> None:
        match item:
            case str():
                await self._emitter.text(item)
            case TextMessageContent():
                await self._emitter.text(item.delta)
            case StateDelta() | StateSnapshot():
                await self._change_state(item)
            case ToolCallStart() | ToolCallArgs() | ToolCallResult():
                await self._emitter.change(self._tools.change(item))
            case _:
                await self._emitter.change(plain(item))

    async def _change_state(self, item: StateDelta | StateSnapshot) -> None:
        """Write a new version of the context; made anew on what others wrote meanwhile."""
        context = self._context
        name = self._attempt.name

        async def make() -> tuple[list[Change], int]:
            found = await self._store.contexts.get(name.caller, name.conversation_id)
            patch = item.delta if isinstance(item, StateDelta) else _replacing(item.snapshot)
            document = apply_patch(
                found.document(),
                patch,
                max_bytes=self._settings.max_context_bytes,
                max_depth=self._settings.max_json_depth,
            )
            if context is not None:
                context.document = document
            encode = msgspec.json.encode
            change = Change(
                "context",
                encode(item),
                encode(document["memory"]),
                encode(document["workflow"]),
                encode(patch),
            )
            return [change], found.version

        await self._emitter.write_alone(make)

    # endings

    def _succeeded(self, interrupts: list[Interrupt]) -> Ending:
        if not interrupts:
            return Ending("success", self._finished(Outcome(type="success")), "complete")
        until = datetime.fromtimestamp(self._clock.unix_s() + ANSWERABLE_S, UTC).isoformat()
        asked = [
            one if one.expires_at is not UNSET else msgspec.structs.replace(one, expires_at=until)
            for one in interrupts
        ]
        return Ending(
            "interrupt",
            self._finished(Outcome(type="interrupt", interrupts=asked)),
            "complete",
            [(one.id, msgspec.json.encode(one)) for one in asked],
            ANSWERABLE_S,
        )

    def _finished(self, outcome: Outcome) -> bytes:
        name = self._attempt.name
        return msgspec.json.encode(
            RunFinished(
                thread_id=name.conversation_id,
                run_id=name.run_id,
                outcome=outcome,
                usage=self._usage(),
            )
        )

    def _failed(self, message: str, code: str) -> Ending:
        name = self._attempt.name
        event = RunError(
            message=message,
            code=code,
            thread_id=name.conversation_id,
            run_id=name.run_id,
            usage=self._usage(),
        )
        return Ending("failed", msgspec.json.encode(event), "failed")

    def _usage(self) -> list[TokenUsage] | UnsetType:
        return (self._context.usage if self._context else None) or UNSET

    async def _finish(self, ending: Ending) -> None:
        """Write what still waits, then the end; tried until Redis has it or the lease is lost."""
        await self._emitter.flush()
        self.is_ending = True
        while True:
            try:
                await self._store.runs.finish(self._attempt, ending)
            except StoreUnavailable as exc:
                _log.warning("run_end_waits", run_id=self._attempt.name.run_id, problem=str(exc))
                await asyncio.sleep(RETRY_S)
            else:
                return


def _replacing(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"op": "replace", "path": f"/{root}", "value": value} for root, value in snapshot.items()
    ]


def _most_telling(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one failure that says how the attempt ended."""
    lost = several.subgroup(LeaseLost)
    if lost is not None:
        return LeaseLost()
    first = several.exceptions[0]
    return _most_telling(first) if isinstance(first, BaseExceptionGroup) else first
