"""Every key in Redis: its type, who owns it, and when it goes.

All keys of one conversation share a hash tag, and so do all of one subject, so that a script that
touches several is in one slot of a cluster. Tags are a fixed number of shards: `{s00}` to `{s63}`.
What comes from outside is an identifier (`[A-Za-z0-9_-]{1,64}`) or is percent-encoded, so no text
can reach into another key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote
from zlib import crc32

from gateway.store.redis.link import packed_arguments

if TYPE_CHECKING:
    from gateway.store.redis.declared import Value

KEPT_IN_MEMORY = 8192  # conversations, and subjects, whose keys are kept built: 1 KiB and 0.3 KiB
SHARDS = 64  # fixed for the life of a deployment: a key's name depends on it


@dataclass(frozen=True, slots=True)
class KeyKind:
    """What a family of keys is.

    `expiry` tells how long after its last write a key goes, `lasting` why it stays. A kind with
    both stays for that reason first, and goes so long after.
    """

    name: str
    pattern: str  # a regular expression after the prefix
    redis_type: str
    owner: str  # the script or file that writes it
    expiry: str = ""
    lasting: str = ""


_SHARD = r"\{s\d\d\}"
_TENANT = r"[A-Za-z0-9_-]{1,64}"
_ID = r"[A-Za-z0-9_-]{1,64}"
_CONVERSATION = rf"{_SHARD}:{_TENANT}:c:{_ID}"
_SUBJECT = rf"{_SHARD}:{_TENANT}:u:[^:]+"
_KEPT = "kept until the conversation is erased"

KINDS = (
    KeyKind("conversation", _CONVERSATION, "hash", "conversation scripts", lasting=_KEPT),
    KeyKind("log", _CONVERSATION + ":log", "list", "prelude.lua", expiry="log_ttl_s"),
    KeyKind("history", _CONVERSATION + ":history", "list", "accept.lua", lasting=_KEPT),
    KeyKind(
        "ids",
        _CONVERSATION + ":ids",
        "hash",
        "accept.lua",
        lasting="a client_message_id is unique for the conversation's life",
    ),
    KeyKind("deleted", _CONVERSATION + ":deleted", "zset", "deleted.lua", lasting=_KEPT),
    KeyKind("members", _CONVERSATION + ":members", "hash", "member scripts", lasting=_KEPT),
    KeyKind("context", _CONVERSATION + ":context", "hash", "set_context.lua", lasting=_KEPT),
    KeyKind(
        "versions",
        _CONVERSATION + ":versions",
        "hash",
        "set_context.lua",
        lasting="the newest context_versions of them, until the conversation is erased",
    ),
    KeyKind(
        "run",
        _CONVERSATION + ":run:[^:]+",
        "hash",
        "runs.lua",
        expiry="1 h after it ended",
        lasting="until it ends: its time limit and the lease see to that",
    ),
    KeyKind(
        "run text",
        _CONVERSATION + ":run:[^:]+:text",
        "string",
        "extend.lua",
        lasting="until the run ends",
    ),
    KeyKind(
        "run tools",
        _CONVERSATION + ":run:[^:]+:tools",
        "hash",
        "extend.lua",
        lasting="until the run ends",
    ),
    KeyKind(
        "run journal",
        _CONVERSATION + ":run:[^:]+:journal",
        "hash",
        "extend.lua",
        lasting="until the run ends",
    ),
    KeyKind(
        "waiting runs",
        _CONVERSATION + ":waiting",
        "list",
        "send.lua",
        lasting="until the last of them has begun",
    ),
    KeyKind(
        "tool calls",
        _CONVERSATION + ":tools",
        "list",
        "runs.lua",
        lasting="the newest 200, until the conversation is erased",
    ),
    KeyKind(
        "interrupts",
        _CONVERSATION + ":interrupts",
        "hash",
        "finish.lua",
        expiry="1 h after the last deadline",
    ),
    KeyKind("answer", _CONVERSATION + ":answer:.+", "string", "respond.lua", expiry="1 h"),
    KeyKind(
        "line of runs",
        rf"{_SHARD}:runs:line",
        "zset",
        "runs.lua",
        lasting="a line goes when a worker claims it",
    ),
    KeyKind(
        "open runs",
        rf"{_SHARD}:runs:open",
        "zset",
        "runs.lua",
        lasting="a line goes when the run ends",
    ),
    KeyKind(
        "turns of runs",
        rf"{_SHARD}:runs:turns",
        "hash",
        "claim.lua",
        lasting="until no run of the shard waits for a worker",
    ),
    KeyKind(
        "ready runs",
        rf"{_SHARD}:runs:ready",
        "list",
        "runs.lua of earlier versions",
        lasting="until claim.lua has put its lines into the line of runs",
    ),
    KeyKind(
        "leased runs",
        rf"{_SHARD}:runs:leased",
        "zset",
        "claim.lua",
        lasting="a line goes when the run ends",
    ),
    KeyKind(
        "agents",
        r"agents",
        "zset",
        "vouch.lua",
        expiry="run_lease_s, 10 s at least, after a worker last said that it has any",
    ),
    KeyKind(
        "invites",
        _CONVERSATION + ":invites",
        "hash",
        "invite.lua",
        expiry="a day after the longest ttl_s of them, from when it was made",
    ),
    KeyKind("banned", _CONVERSATION + ":banned", "set", "set_member.lua", lasting=_KEPT),
    KeyKind("invited", _CONVERSATION + ":invited", "hash", "members.lua", lasting=_KEPT),
    KeyKind("session", _SUBJECT + f":session:{_ID}", "hash", "connect.lua", expiry="session_ttl_s"),
    KeyKind("online", _SUBJECT + ":online", "zset", "connect.lua", expiry="session_ttl_s"),
    KeyKind(
        "conversations",
        _SUBJECT + ":conversations",
        "zset",
        "subjects.py",
        lasting="the list of a subject's conversations; a line goes when they leave",
    ),
    KeyKind("place", _SUBJECT + f":place:{_ID}", "string", "subjects.py", expiry="24 h"),
    KeyKind(
        "quota",
        rf"{_SHARD}:{_TENANT}(:u:[^:]+)?:quota:[a-z]+",
        "string",
        "quota scripts",
        expiry="1 h after its first; that of sessions, session_ttl_s",
    ),
    KeyKind("ticket", rf"{_SHARD}:ticket:{_ID}", "string", "tickets.py", expiry="ticket_ttl_s"),
    KeyKind("probe", rf"probe:{_ID}", "string", "store.py", expiry="60 s"),
    KeyKind(
        "secret",
        r"secret",
        "string",
        "store.py",
        lasting="seals resume tokens and derives ids; losing it loses both",
    ),
)


def shard_of(*parts: str) -> str:
    """The hash tag of a conversation or a subject."""
    return f"{{s{crc32(':'.join(parts).encode()) % SHARDS:02d}}}"


class ConversationKeys:
    """All keys of one conversation, in the order the scripts take them, and its channel.

    `channel` is for pub/sub: a fast path, never the truth. `packed` is all of them as
    a command holds them.
    """

    __slots__ = ("base", "channel", "packed")

    def __init__(self, base: str) -> None:
        self.base = base
        self.channel = f"{base}:live"
        self.packed = packed_arguments(self.all())

    def all(self) -> tuple[str, ...]:
        """KEYS of every conversation script (lua/prelude.lua names them)."""
        base = self.base
        return (
            base,
            f"{base}:log",
            f"{base}:history",
            f"{base}:ids",
            f"{base}:members",
            f"{base}:context",
            f"{base}:versions",
        )

    @property
    def absent(self) -> str:
        """A key that never is: declared by every script that touches keys it was not given.

        While a slot of a cluster moves, a server says TRYAGAIN to a script of several keys one of
        which it lacks, and runs nothing of it. So it runs none of these, which could fail in the
        middle ("non local key"), or take a key that is at the other server for one that is not.
        """
        return f"{self.base}:absent"

    def run_keys(self) -> dict[str, Value]:
        """What every script that changes a run is given (lua/runs.lua), by name."""
        head = self.base[: self.base.index("}") + 1]
        return {
            "line_key": f"{head}:runs:line",
            "leased_key": f"{head}:runs:leased",
            "waiting_key": f"{self.base}:waiting",
            "tools_key": self.tools,
            "interrupts_key": self.interrupts,
            "absent_key": self.absent,
            "open_key": f"{head}:runs:open",
        }

    @property
    def deleted(self) -> str:
        """Which messages of the history are deleted, in runs."""
        return f"{self.base}:deleted"

    @property
    def tools(self) -> str:
        """The newest finished tool calls."""
        return f"{self.base}:tools"

    @property
    def interrupts(self) -> str:
        """What runs ask and nobody has answered."""
        return f"{self.base}:interrupts"

    def answer(self, run_id: str, interrupt_id: str) -> str:
        """The answer that an interrupt of a run was given."""
        return f"{self.base}:answer:{run_id}:{interrupt_id}"

    @property
    def log(self) -> str:
        """The list of events that clients resume from."""
        return f"{self.base}:log"

    @property
    def invites(self) -> str:
        """The invites, by the hashes of their codes."""
        return f"{self.base}:invites"

    @property
    def invited(self) -> str:
        """Subjects who were invited by name, and have not answered."""
        return f"{self.base}:invited"

    @property
    def banned(self) -> str:
        """Subjects who were removed and may not join by themselves."""
        return f"{self.base}:banned"


@dataclass(frozen=True, slots=True)
class SubjectKeys:
    """All keys of one subject."""

    base: str

    def session(self, session_id: str) -> str:
        """One session. Another subject's is another key: it cannot be asked for."""
        return f"{self.base}:session:{session_id}"

    @property
    def absent(self) -> str:
        """A key that never is: see `ConversationKeys.absent`."""
        return f"{self.base}:absent"

    @property
    def online(self) -> str:
        """Sessions with a connected device, and until when that is believed."""
        return f"{self.base}:online"

    @property
    def conversations(self) -> str:
        """Conversations the subject takes part in, by when they joined."""
        return f"{self.base}:conversations"

    def quota(self, what: str) -> str:
        """How much the subject did of something lately."""
        return f"{self.base}:quota:{what}"

    def place(self, conversation_id: str) -> str:
        """Where a conversation that the subject has left was on that list."""
        return f"{self.base}:place:{conversation_id}"


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds keys. Deployments that share a server differ in `prefix`."""

    prefix: str = "gw"

    def conversation(self, tenant: str, conversation_id: str) -> ConversationKeys:
        """The keys of a conversation."""
        return _conversation(self.prefix, tenant, conversation_id)

    def subject(self, tenant: str, subject: str) -> SubjectKeys:
        """The keys of a subject, whose name may hold any character."""
        return _subject(self.prefix, tenant, subject)

    def tenant_quota(self, tenant: str, what: str) -> str:
        """How much all of a tenant did of something lately."""
        return f"{self.prefix}:{shard_of('t', tenant)}:{tenant}:quota:{what}"

    def ticket(self, ticket_hash: str) -> str:
        """A one-time ticket, by the hash of its text."""
        return f"{self.prefix}:{shard_of('t', ticket_hash)}:ticket:{ticket_hash}"

    def of_shard(self, shard: int) -> str:
        """No key of ours, but where the shard's keys are: for commands that take none."""
        return f"{self.prefix}:{{s{shard:02d}}}"

    def probe(self, replica_id: str) -> str:
        """What a replica writes to see that it can."""
        return f"{self.prefix}:probe:{replica_id}"

    @property
    def agents(self) -> str:
        """The agents that workers have."""
        return f"{self.prefix}:agents"

    @property
    def secret(self) -> str:
        """The deployment's secret."""
        return f"{self.prefix}:secret"

    def queue(self, shard: int) -> dict[str, Value]:
        """The runs of a shard, by the names of claim.lua; `absent_key` is one that never is."""
        head = f"{self.prefix}:{{s{shard:02d}}}:runs"
        names = ("line", "leased", "turns", "ready", "absent")
        return {f"{name}_key": f"{head}:{name}" for name in names}

    @property
    def wake_channel(self) -> str:
        """Where workers hear of runs that became ready."""
        return f"{self.prefix}:wake"

    def replica_channel(self, replica_id: str) -> str:
        """Where one replica is told of takeovers and hears its own heartbeat."""
        return f"{self.prefix}:replica:{replica_id}"

    def push_channel(self, replica_id: str) -> str:
        """Where one replica hears what is for single connections of its own."""
        return f"{self.prefix}:replica:{replica_id}:pushes"

    def kind_of(self, key: str) -> KeyKind | None:
        """The declared kind of a key found in Redis; None if it is not ours or not declared."""
        name = key.removeprefix(f"{self.prefix}:")
        if name == key:
            return None
        return next((kind for kind in KINDS if re.fullmatch(kind.pattern, name)), None)


@lru_cache(KEPT_IN_MEMORY)
def _conversation(prefix: str, tenant: str, conversation_id: str) -> ConversationKeys:
    shard = shard_of("c", tenant, conversation_id)
    return ConversationKeys(f"{prefix}:{shard}:{tenant}:c:{conversation_id}")


@lru_cache(KEPT_IN_MEMORY)
def _subject(prefix: str, tenant: str, subject: str) -> SubjectKeys:
    shard = shard_of("u", tenant, subject)
    is_plain = subject.isascii() and subject.isalnum()  # quoting it would change nothing
    quoted = subject if is_plain else quote(subject, safe="@.+~")
    return SubjectKeys(f"{prefix}:{shard}:{tenant}:u:{quoted}")
