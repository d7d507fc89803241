"""What an agent gets: the conversation, its memory, and what an earlier attempt has done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gateway.protocol.json_values import whole_json
from gateway.store.availability import once_available
from gateway.store.messages import Message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.protocol.events import TokenUsage
    from gateway.store.runs import Attempt
    from gateway.store.store import Store

PAGE = 200
MAX_HISTORY_BYTES = 4_194_304  # of messages read at once: more than models take
T = TypeVar("T")
Journal = dict[str, bytes]


class RunContext:
    """The surroundings of one attempt at a run.

    Attributes:
        tenant, conversation_id, run_id: where it is.
        subject: who asked.
        attempt: 1, or more after a worker died.
        emitted: the reply's text so far; not empty only in a later attempt that resumes.
        open_tools: tool calls begun and not ended by an earlier attempt that resumes.
        memory, workflow: the agent context; to change it, yield `StateDelta` or `StateSnapshot`.
        resume: the answers to the interrupts of the run that this one goes on from.
        resumes_run: that run.
        tool_calls: the newest finished tool calls of the conversation, the oldest first; each is
            `{"toolCallId", "name", "runId", "arguments", "status", "result"}`.
        usage: append what the models used; it is recorded with the run's end.
    """

    def __init__(
        self,
        store: Store,
        attempt: Attempt,
        document: dict[str, Any],
        journal: Journal,
        write_step: Callable[[str, bytes], Awaitable[None]],
        *,
        begin_anew: Callable[[], Awaitable[None]],
        tool_calls: list[dict[str, Any]],
    ) -> None:
        self.tenant = attempt.name.tenant
        self.conversation_id = attempt.name.conversation_id
        self.run_id = attempt.name.run_id
        self.subject = attempt.input.by
        self.attempt = attempt.number
        self.emitted = attempt.emitted
        self.open_tools = frozenset(attempt.open_tools)
        self.resume = attempt.input.resume
        self.resumes_run = attempt.input.resumes_run
        self.usage: list[TokenUsage] = []
        self.document = document
        self._store = store
        self._attempt = attempt
        self._journal = journal
        self._write_step = write_step
        self._begin_anew = begin_anew
        self.tool_calls = tool_calls

    @property
    def memory(self) -> dict[str, Any]:
        """What the agent remembers: any JSON of the application's."""
        memory: dict[str, Any] = self.document["memory"]
        return memory

    @property
    def workflow(self) -> dict[str, Any]:
        """The state of the agent's workflow: any JSON of the application's."""
        workflow: dict[str, Any] = self.document["workflow"]
        return workflow

    @property
    def journal_bytes(self) -> int:
        """The contents of the journal: results of steps and of tool calls."""
        return sum(map(len, self._journal.values()))

    async def message(self) -> Message | None:
        """The message this run replies to; None after an interrupt, or if it was deleted."""
        wanted = self._attempt.input.message_id
        if wanted is None:
            return None
        find, caller = self._store.messages.find, self._attempt.name.caller
        return await once_available(lambda: find(caller, self.conversation_id, wanted))

    async def text(self) -> str:
        """The text of that message, or an empty string."""
        message = await self.message()
        return "" if message is None else message.text()

    async def messages(self, limit: int = 200) -> list[Message]:
        """The conversation as a model should see it: each message once, the one replied to last.

        Messages that wait for replies of their own are left out.

        Args:
            limit: how many of the newest to read, of `MAX_HISTORY_BYTES` at most.
        """
        read, caller = self._store.messages.page, self._attempt.name.caller
        size = MAX_HISTORY_BYTES
        page = await once_available(
            lambda: read(caller, self.conversation_id, limit=limit, max_bytes=size)
        )
        found = [msgspec.json.decode(item.data, type=Message) for item in page.messages]
        asked = await self.message()
        if asked is None:
            return found
        before = [
            message
            for message in found
            if message.message_id != asked.message_id
            and not (message.role == "user" and message.seq > asked.seq)
        ]
        return [*before, asked]

    async def step(self, name: str, work: Callable[[], Awaitable[T]], kind: type[T]) -> T:
        """Run a step once over all attempts: its result is in the journal before it returns.

        Args:
            name: unique in the run.
            work: called if the journal does not have the step.
            kind: the type of the result, for reading it back; it must be JSON. Halves of
                characters in it are replaced in the journal.
        """
        known = self._journal.get(name)
        if known is not None:
            return msgspec.json.decode(known, type=kind)
        result = await work()
        try:
            data = msgspec.json.encode(result)
        except UnicodeEncodeError:
            data = msgspec.json.encode(whole_json(msgspec.to_builtins(result)))
        await self._write_step(name, data)
        self._journal[name] = data
        return result

    async def begin_anew(self) -> None:
        """Discard the text and the open tool calls of earlier attempts; readers are notified.

        For an attempt that resumes and finds that it cannot go on from `emitted`. At most once.
        """
        await self._begin_anew()
        self.emitted, self.open_tools = "", frozenset()

    def has_done(self, name: str) -> bool:
        """Whether the journal has a step, or the result of the tool call of this id."""
        return name in self._journal
