"""Runs in Redis: claimed by one attempt at a time, which alone may append; ended once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from gateway.errors import GatewayError
from gateway.protocol.events import RunError
from gateway.store.calls import ConversationCalls, text
from gateway.store.redis.scripts import ON_CONVERSATION, ON_RUNS, Script
from gateway.store.run_names import RunName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.clock import Clock
    from gateway.identity.caller import Caller
    from gateway.settings import Settings
    from gateway.store.redis.declared import Value
    from gateway.store.redis.link import Argument, Reply
    from gateway.store.run_lines import Claim

_log = structlog.get_logger(__name__)


class LeaseLost(GatewayError):
    """This attempt does not own the run any more: another does, or it has ended."""


class NoRoomToAsk(GatewayError):
    """What the run asks does not fit beside the questions that wait; it has not ended.

    `waiting_bytes`: what these have.
    """

    def __init__(self, waiting_bytes: int) -> None:
        super().__init__(waiting_bytes)
        self.waiting_bytes = waiting_bytes


class ContextMoved(GatewayError):
    """Somebody else wrote the agent context; nothing of the batch was applied."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


class RunInput(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was started by: a message, or the answer to an interrupt.

    `resume` holds AG-UI resume entries: interrupt id, status, payload.
    """

    message_id: str | None = None
    seq: int | None = None
    by: str
    resume: list[dict[str, Any]] = []
    resumes_run: str | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to be started."""

    run_id: str
    agent: str
    message_id: str  # of the reply
    if_running: str = "enqueue"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One worker's turn at a run. `emitted` is the reply's text so far, of earlier attempts."""

    name: RunName
    owner: str
    number: int
    agent: str
    message_id: str
    input: RunInput
    emitted: str
    time_left_s: float
    open_tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a batch (lua/extend.lua): its kind, its event, and what the script needs."""

    kind: str
    event: bytes
    first: bytes | str = b""
    second: bytes = b""
    third: bytes = b""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ends.

    `interrupts` are (id, until when it can be answered in Unix ms, `<agent's own id>|<JSON>`).
    """

    status: str
    event: bytes
    message_status: str
    interrupts: Sequence[tuple[str, int, bytes]] = ()


class Runs:
    """The runs of all conversations."""

    def __init__(self, calls: ConversationCalls, clock: Clock, settings: Settings) -> None:
        self._calls = calls
        self._clock = clock
        self._settings = settings
        self._lease_ms = round(settings.run_lease_s * 1000)
        self._begin = Script("begin", prelude=ON_RUNS)
        self._extend = Script("extend", prelude=ON_RUNS)
        self._finish = Script("finish", prelude=(*ON_RUNS, "questions"))
        self._renew = Script("renew", prelude=ON_RUNS)
        self._give_back = Script("give_back", prelude=ON_RUNS)
        self._cancel = Script("cancel", prelude=ON_RUNS)
        self._journal = Script("journal", prelude=(*ON_CONVERSATION, "names"))

    async def begin(self, claim: Claim, *, worker_id: str = "") -> Attempt | None:
        """Begin an attempt, of this worker.

        None if the run has ended, was claimed by another meanwhile, or is given up now: too many
        workers have died with it.
        """
        name, owner = claim.name, f"{worker_id}.{secrets.token_urlsafe(12)}"
        reply = await self._run(
            self._begin,
            name,
            owner=owner,
            lease_ms=self._lease_ms,
            until_ms=claim.until_ms,
            max_deaths=self._settings.run_attempts,
            given_up_event=_given_up(name, self._settings.run_attempts),
            kept=self._settings.context_versions,
        )
        if reply[0] == b"given_up":
            _log.error("run_abandoned", run_id=name.run_id, attempts=self._settings.run_attempts)
        if reply[0] != b"begun":
            return None
        _, number, agent, message_id, given, emitted, deadline, tools, now = reply
        return Attempt(
            name=name,
            owner=owner,
            number=int(number),
            agent=text(agent),
            message_id=text(message_id),
            input=msgspec.json.decode(given, type=RunInput),
            emitted=_from_inside(emitted or b""),
            time_left_s=(float(deadline) - float(now)) / 1000,
            open_tools=tuple(_from_inside(item) for item in tools),
        )

    async def extend(
        self, attempt: Attempt, number: int, changes: Sequence[Change], *, version: int | None
    ) -> None:
        """Append a batch and renew the lease; repeating a batch number changes nothing.

        Args:
            attempt: whose.
            number: 1, 2, 3 … of this attempt.
            changes: what it did, in order.
            version: the context version that the batch's contexts were made for, if any.

        Raises:
            LeaseLost: refused, nothing was applied.
            ContextMoved: nothing was applied; make the batch anew.
        """
        lines: list[Argument] = []
        for change in changes:
            lines += (change.kind, change.event, change.first, change.second, change.third)
        reply: Reply = await self._run(
            self._extend,
            attempt.name,
            writes=True,
            owner=attempt.owner,
            lease_ms=self._lease_ms,
            batch=number,
            kept=self._settings.context_versions,
            made_for="" if version is None else version,
            changes=lines,
        )
        _raise_if_lost(reply)
        if isinstance(reply, list) and reply[0] == b"moved":
            raise ContextMoved(int(reply[1]))

    async def finish(self, attempt: Attempt, ending: Ending, *, last_batch: int) -> None:
        """End the run: history, open tool calls, terminal event, next run, in one step.

        Raises:
            LeaseLost: refused; somebody else ended or owns it, or Redis lost a batch.
            NoRoomToAsk: nothing was done, the conversation's questions would have too many bytes.
        """
        asked = [part for interrupt in ending.interrupts for part in interrupt]
        reply = await self._run(
            self._finish,
            attempt.name,
            writes=True,
            owner=attempt.owner,
            status=ending.status,
            event=ending.event,
            message_status=ending.message_status,
            kept=self._settings.context_versions,
            batch=last_batch,
            max_bytes=self._settings.max_interrupts_bytes,
            questions=asked,
        )
        _raise_if_lost(reply)
        if isinstance(reply, list):
            raise NoRoomToAsk(int(reply[1]))

    async def renew(self, attempt: Attempt) -> bool:
        """Keep the lease; False if it is lost."""
        reply = await self._run(
            self._renew, attempt.name, owner=attempt.owner, lease_ms=self._lease_ms
        )
        return bool(reply[0])

    async def give_back(self, attempt: Attempt) -> None:
        """Let another worker have it at once."""
        await self._run(self._give_back, attempt.name, owner=attempt.owner)

    async def journal(self, name: RunName) -> dict[str, bytes]:
        """The steps a run has completed, with their results as JSON."""
        absent = self._calls.keys.conversation(name.tenant, name.conversation_id).absent
        (flat,) = await self._calls.run(
            self._journal,
            name.caller,
            name.conversation_id,
            absent_key=absent,
            run_id=name.run_id,
        )
        return {text(step): result for step, result in zip(flat[::2], flat[1::2], strict=True)}

    async def cancel(self, caller: Caller, conversation_id: str, run_id: str) -> str:
        """End a run as cancelled; returns the state it ended in, which may be another.

        Raises:
            NotFound: no such run in a conversation of the caller's.
        """
        name = RunName(caller.tenant, conversation_id, run_id)
        versions = self._settings.context_versions
        reply = await self._run(self._cancel, name, caller=caller, writes=True, kept=versions)
        return text(reply[1])

    async def _run(
        self,
        script: Script,
        name: RunName,
        *,
        caller: Caller | None = None,
        writes: bool = False,
        **named: Value,
    ) -> Any:  # what RESP can hold
        keys = self._calls.keys.conversation(name.tenant, name.conversation_id)
        return await self._calls.run(
            script,
            caller or name.caller,
            name.conversation_id,
            writes=writes,
            run_id=name.run_id,
            **keys.run_keys(),
            **named,
        )


def _given_up(name: RunName, deaths: int) -> bytes:
    """How a run ends that so many workers died with."""
    error = RunError(
        message=f"the run was given up: its worker was lost {deaths} times",
        code="worker_lost",
        thread_id=name.conversation_id,
        run_id=name.run_id,
    )
    return msgspec.json.encode(error)


def _from_inside(data: bytes) -> str:
    """The text of a JSON string, given without its quotes."""
    return msgspec.json.decode(b'"' + data + b'"', type=str)


def _raise_if_lost(reply: Reply) -> None:
    if reply == b"lost":
        raise LeaseLost
