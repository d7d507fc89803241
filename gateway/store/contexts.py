"""Agent contexts: memory, workflow and tool calls, versioned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.errors import NotFound, VersionConflict
from gateway.protocol.ids import content_hash
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import ContextVersion
from gateway.store.calls import ConversationCalls, position_of, text
from gateway.store.redis.scripts import ON_CONVERSATION, Script
from gateway.store.unseen import unseen_of

if TYPE_CHECKING:
    from gateway.identity.caller import Caller
    from gateway.protocol.messages import Position
    from gateway.store.redis.link import Reply
    from gateway.store.unseen import Unseen


@dataclass(frozen=True, slots=True)
class AgentState:
    """What an agent knows, at one position of the log."""

    version: int
    memory: JsonText
    workflow: JsonText
    tool_calls: JsonText
    position: Position
    active_run: JsonText | None = None
    interrupts: tuple[JsonText, ...] = ()

    @property
    def document_bytes(self) -> int:
        """How large that is, as JSON."""
        return len(self.memory.data) + len(self.workflow.data)

    def document(self) -> dict[str, Any]:
        """What a patch applies to: the user's own JSON."""
        return {"memory": self.memory.value(), "workflow": self.workflow.value()}


@dataclass(frozen=True, slots=True)
class ContextChange:
    """A new version: the whole of it, and how it differs from `base_version`.

    `tool_calls` None leaves them as they are.
    """

    base_version: int
    document: dict[str, Any]
    patch: list[dict[str, Any]]
    tool_calls: list[dict[str, Any]] | None = None


class Contexts:
    """The agent contexts of all conversations."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._read = Script("context", prelude=(*ON_CONVERSATION, "names", "state", "joining"))
        self._write = Script("set_context", prelude=(*ON_CONVERSATION, "kept"))
        self._versions = Script("versions", prelude=(*ON_CONVERSATION, "joining", "seen"))

    async def get(self, caller: Caller, conversation_id: str) -> AgentState:
        """The context as it is."""
        reply = await self._read_at(caller, conversation_id, "")
        context = context_of(reply[3:7], position_of(reply[1], reply[2]), *reply[7:9])
        unseen = unseen_of(reply[9])
        return context if unseen is None else seen_context(context, unseen)

    async def document_at(
        self, caller: Caller, conversation_id: str, version: int
    ) -> dict[str, Any]:
        """Memory and workflow as they were at a version.

        Raises:
            NotFound: no such version is kept.
        """
        reply = await self._read_at(caller, conversation_id, version)
        if reply[0] == b"no_version":
            raise NotFound(f"$.version: version {version} does not exist any more")
        if reply[4] is None:
            return {"memory": {}, "workflow": {}}
        document: dict[str, Any] = msgspec.json.decode(reply[4])
        return document

    async def _read_at(self, caller: Caller, conversation_id: str, version: int | str) -> Any:
        absent = self._calls.keys.conversation(caller.tenant, conversation_id).absent
        return await self._calls.run(
            self._read, caller, conversation_id, absent_key=absent, version=version
        )

    async def set(self, caller: Caller, conversation_id: str, change: ContextChange) -> int:
        """Write a new version; returns its number.

        Raises:
            VersionConflict: somebody wrote since `base_version`.
        """
        encode = msgspec.json.encode
        record = encode(change.document)
        by, patch = encode(caller.subject), encode(change.patch)
        tools = b"" if change.tool_calls is None else encode(change.tool_calls)
        reply = await self._calls.run(
            self._write,
            caller,
            conversation_id,
            writes=True,
            base_version=change.base_version,
            memory=encode(change.document["memory"]),
            workflow=encode(change.document["workflow"]),
            tool_calls=tools,
            event_head='{"type":"CONTEXT_UPDATED","version":',
            event_tail=b',"baseVersion":%d,"patch":%b,"by":%b}' % (change.base_version, patch, by),
            kept=self._calls.settings.context_versions,
            record=record,
            request=content_hash(b"%d:%b:%b:%b" % (change.base_version, record, tools, by)),
        )
        if reply[0] == b"moved":
            raise VersionConflict(int(reply[1]))
        return int(reply[1])

    async def versions(
        self, caller: Caller, conversation_id: str, *, limit: int
    ) -> list[ContextVersion]:
        """The versions that are kept, the newest first."""
        reply = await self._calls.run(self._versions, caller, conversation_id, limit=limit)
        return [_version(line) for line in reply[1]]


def context_of(
    fields: list[Reply], position: Position, active_run: Reply, interrupts: list[Reply]
) -> AgentState:
    """A context out of a script's reply: version, memory, workflow, tool calls."""
    version, memory, workflow, tool_calls = fields
    return AgentState(
        version=int(version or 0),
        memory=JsonText(memory or b"{}"),
        workflow=JsonText(workflow or b"{}"),
        tool_calls=JsonText(tool_calls or b"[]"),
        position=position,
        active_run=JsonText(active_run) if active_run else None,
        interrupts=tuple(pending_interrupt(value) for value in interrupts[1::2]),
    )


def seen_context(context: AgentState, unseen: Unseen) -> AgentState:
    """The context as somebody sees it: as it is now, with the tool calls since they joined."""
    return replace(context, tool_calls=unseen.tool_calls(context.tool_calls.data))


def pending_interrupt(value: bytes) -> JsonText:
    """An interrupt nobody has answered, with the run that asked: `{"runId", …}`."""
    _, run_id, _, rest = value.split(b"|", 3)
    interrupt = rest[rest.index(b"{") :]  # before it, the agent's own name for it
    return JsonText(b'{"runId":"' + run_id + b'",' + interrupt[1:])


def _version(line: Reply) -> ContextVersion:
    version, at, by = text(line).split(":", 2)
    return ContextVersion(version=int(version), at=float(at), by=by)
