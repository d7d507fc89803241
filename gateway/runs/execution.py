"""One attempt at a run: the agent's events go out, and the run ends in exactly one way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from msgspec import UNSET

from gateway.agents.agent import AgentError, Refused, takeover_of
from gateway.agents.run_context import RunContext
from gateway.errors import RequestError
from gateway.protocol.events import (
    Custom,
    Interrupt,
    Outcome,
    RunError,
    RunEvent,
    RunFinished,
    StateDelta,
    StateSnapshot,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallResult,
    ToolCallStart,
)
from gateway.runs.agent_task import AgentTask
from gateway.runs.emitter import Emitter, plain
from gateway.runs.interrupts import check_schema, posed
from gateway.runs.patching_aside import apply_patch_aside
from gateway.runs.speech import Speech, failure, speaking, used
from gateway.runs.tool_calls import ToolCalls
from gateway.store.availability import once_available
from gateway.store.runs import Change, Ending, LeaseLost, NoRoomToAsk

if TYPE_CHECKING:
    from msgspec import UnsetType

    from gateway.agents.agent import Agent
    from gateway.clock import Clock
    from gateway.protocol.events import TokenUsage
    from gateway.settings import Settings
    from gateway.store.contexts import AgentState
    from gateway.store.runs import Attempt
    from gateway.store.store import Store

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
        self.run_id = attempt.name.run_id
        self.is_ending = False  # its end is being written
        self.is_lost = False  # another ended it, or has it
        self._speaking: AgentTask[list[Interrupt]] | None = None
        self._speech: Speech | None = None

    @property
    def is_bound(self) -> bool:
        """Whether another worker could not go on with it, but only begin anew or fail it."""
        return self._agent is not None and takeover_of(self._agent) != "resume"

    async def run(self) -> bool:
        """Attempt the run, and end it.

        Returns:
            Whether it was ended here. If not, it is another's, or Redis lost a part of it.
        """
        log = _log.bind(run_id=self._attempt.name.run_id, attempt=self._attempt.number)
        try:
            ending = await self._attempt_it()
            ending = await self._finish(ending)
        except LeaseLost:
            log.info("run_lost")
            return False
        log.info("run_ended", status=ending.status)
        return True

    async def _attempt_it(self) -> Ending:
        if self._attempt.time_left_s <= 0:  # before a restart throws away what was said
            return self._timed_out()
        limit = asyncio.timeout(self._attempt.time_left_s)
        try:
            async with limit:
                return await self._with_flusher()
        except (LeaseLost, asyncio.CancelledError):
            raise
        except AgentError as exc:
            message, code, wrong = failure(exc)
            if isinstance(exc, Refused) or wrong:
                self._tell_refused(wrong or message)
            return self._failed(message, code)
        except Exception:  # the edge: an agent's bug costs its own run only
            if limit.expired():
                return self._timed_out()
            log = self._bound_log()
            log.exception("agent_failed")
            return self._failed("the agent failed; it has been logged", "agent_error")

    def _bound_log(self) -> structlog.typing.FilteringBoundLogger:
        name = self._attempt.name
        bound: structlog.typing.FilteringBoundLogger = _log.bind(
            run_id=name.run_id,
            conversation_id=name.conversation_id,
            tenant=name.tenant,
            agent=self._attempt.agent,
        )
        return bound

    def _tell_refused(self, problem: str) -> None:
        log = self._bound_log()
        log.error("agent_output_refused", problem=problem)

    async def _with_flusher(self) -> Ending:
        if self._agent is None:
            raise AgentError(f"there is no agent {self._attempt.agent!r} here", code="no_agent")
        await self._take_over(self._agent)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._emitter.run(), name="run-flusher")
                interrupts = await self._let_speak(self._agent)
                self._emitter.close()
        except BaseExceptionGroup as several:
            raise _most_telling(several) from several
        await self._emitter.flush(is_last=True)
        return self._succeeded(interrupts)

    async def _let_speak(self, agent: Agent) -> list[Interrupt]:
        """Wait for what the agent asks at its end; if we are stopped before, so is the agent."""
        self._speaking = speaking = AgentTask(
            lambda: self._drive(agent), agent=self._attempt.agent, run_id=self.run_id
        )
        try:
            return await speaking.result()
        finally:
            await speaking.stop(limit_s=self._settings.run_cleanup_s)

    async def _take_over(self, agent: Agent) -> None:
        """What a later attempt does before the agent goes on."""
        attempt = self._attempt
        policy = takeover_of(agent)
        if attempt.number == 1 or policy == "resume":
            return
        if policy == "fail":
            raise AgentError("the worker of this run was lost", code="worker_lost")
        await self._begin_anew()

    async def _begin_anew(self) -> None:
        """Discard what the reply says so far; its text goes on under another id."""
        self._refuse_if_left()
        attempt = self._attempt
        ids = await once_available(self._store.ids)
        fresh = ids.reply_id(attempt.name.run_id, attempt.number)
        event = Custom(
            name="run_restarted",
            value={"runId": attempt.name.run_id, "discardedMessageId": attempt.message_id},
        )
        change = Change("reset", msgspec.json.encode(event), fresh)
        await self._emitter.begin_anew(change, fresh)
        self._attempt = replace(attempt, message_id=fresh, emitted="", open_tools=())

    async def _drive(self, agent: Agent) -> list[Interrupt]:
        """Let the agent speak; returns what it asks at the end."""
        context = self._context = await self._make_context()
        interrupts: list[Interrupt] = []
        speech = self._speech = Speech(
            self._settings, emitted=self._attempt.emitted, kept_bytes=context.journal_bytes
        )
        async with speaking(agent, context) as said:
            async for item in said:
                if self._is_stopped():  # the agent was cancelled and goes on all the same
                    raise asyncio.CancelledError
                if type(item) is str:  # by far the commonest
                    await self._emitter.text(speech.text(item))
                    continue
                for checked in speech.heard(item):
                    if isinstance(checked, Interrupt):
                        await check_schema(checked, limit_s=self._settings.schema_check_s)
                        interrupts.append(checked)
                    else:
                        await self._say(checked)
        return interrupts

    async def _make_context(self) -> RunContext:
        name = self._attempt.name
        found = await self._read_context()
        journal: dict[str, bytes] = {}
        if self._attempt.number > 1:
            journal = await once_available(lambda: self._store.runs.journal(name))
        return RunContext(
            self._store,
            self._attempt,
            found.document(),
            journal,
            write_step=self._write_step,
            begin_anew=self._begin_anew,
            tool_calls=found.tool_calls.value(),
        )

    async def _read_context(self) -> AgentState:
        get, name = self._store.contexts.get, self._attempt.name
        return await once_available(lambda: get(name.caller, name.conversation_id))

    async def _write_step(self, name: str, result: bytes) -> None:
        self._refuse_if_left()
        if self._speech is not None:
            self._speech.keep(len(name) + len(result))
        await self._emitter.change(Change("journal", b"", name, result))
        await self._emitter.flush()

    def _is_stopped(self) -> bool:
        return self._speaking is not None and self._speaking.is_stopped

    def _refuse_if_left(self) -> None:
        if self._speaking is not None and self._speaking.is_left:
            raise LeaseLost

    async def _say(self, item: str | RunEvent) -> None:
        match item:
            case str():
                await self._emitter.text(item)
            case StateDelta() | StateSnapshot():
                await self._change_state(item)
            case ToolCallStart() | ToolCallArgs() | ToolCallEnd() | ToolCallResult():
                await self._emitter.change(self._tools.change(item))
            case _:
                await self._emitter.change(plain(item))

    async def _change_state(self, item: StateDelta | StateSnapshot) -> None:
        """Write a new version of the context; made anew on what others wrote meanwhile."""
        context = self._context

        async def make() -> tuple[list[Change], int]:
            found = await self._read_context()
            patch = item.delta if isinstance(item, StateDelta) else _replacing(item.snapshot)
            document = await self._patched(found, patch)
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

    async def _patched(self, found: AgentState, patch: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await apply_patch_aside(
                found.document(),
                patch,
                document_bytes=found.document_bytes,
                max_bytes=self._settings.max_context_bytes,
                max_depth=self._settings.max_json_depth,
                max_nodes=self._settings.max_json_nodes,
            )
        except RequestError as exc:
            raise Refused(f"the agent made an invalid change to its state: {exc.message}") from exc

    # endings

    def _succeeded(self, interrupts: list[Interrupt]) -> Ending:
        if not interrupts:
            return Ending("success", self._finished(Outcome(type="success")), "complete")
        now = self._clock.unix_s()
        asked = [posed(one, now=now) for one in interrupts]
        return Ending(
            "interrupt",
            self._finished(Outcome(type="interrupt", interrupts=[one for one, _ in asked])),
            "complete",
            [kept for _, kept in asked],
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

    def _timed_out(self) -> Ending:
        limit_s = self._settings.run_timeout_s
        return self._failed(f"the run took longer than {limit_s:g} s", "timeout")

    def _failed(self, message: str, code: str) -> Ending:
        name = self._attempt.name
        usage: list[TokenUsage] | UnsetType = UNSET
        try:
            usage = self._usage()
        except Refused as exc:
            if exc.message != message:  # else it fails for that, and was logged
                self._tell_refused(exc.message)
        event = RunError(
            message=message,
            code=code,
            thread_id=name.conversation_id,
            run_id=name.run_id,
            usage=usage,
        )
        return Ending("failed", msgspec.json.encode(event), "failed")

    def _usage(self) -> list[TokenUsage] | UnsetType:
        return UNSET if self._context is None else used(self._context.usage) or UNSET

    async def _finish(self, ending: Ending) -> Ending:
        """Write what still waits, then the end; tried until Redis has it or the lease is lost.

        Returns:
            How it ended: as failed if there is no room for what it asks.
        """
        await self._emitter.flush(is_last=True)
        self.is_ending = True
        finish, last_batch = self._store.runs.finish, self._emitter.last_batch
        try:
            await once_available(lambda: finish(self._attempt, ending, last_batch=last_batch))
        except NoRoomToAsk as exc:
            failed = self._failed_to_ask(ending, exc.waiting_bytes)
            await once_available(lambda: finish(self._attempt, failed, last_batch=last_batch))
            return failed
        return ending

    def _failed_to_ask(self, ending: Ending, waiting_bytes: int) -> Ending:
        size = sum(len(kept) for *_, kept in ending.interrupts)
        problem = (
            f"the agent asks {size} bytes of questions; {waiting_bytes} of this conversation wait"
            f" for answers, and all may have {self._settings.max_interrupts_bytes}"
        )
        self._tell_refused(problem)
        return self._failed(problem, "agent_error")


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
