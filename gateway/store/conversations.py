"""Conversations: created, described, joined, left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec

from gateway.errors import Conflict
from gateway.ids import content_hash, token_hash
from gateway.json_text import JsonText
from gateway.store.calls import Caller, ConversationCalls, new_birth, position_of, text
from gateway.store.scripts import ON_CONVERSATION, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.messages import CreateConversation, Position, Role, Visibility
    from gateway.store.link import Reply


@dataclass(frozen=True, slots=True)
class Member:
    """A participant as stored; whether they are online is the sessions' to tell."""

    subject: str
    role: Role
    joined_at: float


@dataclass(frozen=True, slots=True)
class Description:
    """Who and what a conversation is, at one position."""

    conversation_id: str
    position: Position
    title: str | None
    created_at: float
    visibility: Visibility
    metadata: JsonText
    role: Role  # the caller's own
    members: list[Member]
    active_run: JsonText | None


class Conversations:
    """The conversations of all tenants."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._create = Script("create", prelude=(*ON_CONVERSATION, "names", "members"))
        self._describe = Script("describe", prelude=(*ON_CONVERSATION, "names", "state"))
        who_comes_in = (*ON_CONVERSATION, "names", "members", "invites")
        self._join = Script("join", prelude=who_comes_in)
        self._set_member = Script("set_member", prelude=who_comes_in)
        self._whisper = Script("whisper")
        self._presence = Script("presence")

    async def create(
        self, caller: Caller, conversation_id: str, request: CreateConversation
    ) -> Position:
        """Create it with the caller as owner; again by the same caller is the same.

        Raises:
            Conflict: the id is taken.
        """
        what = [request.title, request.visibility, request.metadata, request.participants]
        pairs = [arg for who in request.participants for arg in (who, _json(who))]
        reply = await self._calls.run(
            self._create,
            caller,
            conversation_id,
            content_hash(msgspec.json.encode(what, order="sorted")),
            _json(request.title),
            request.visibility,
            _json(request.metadata),
            _json(caller.subject),
            *pairs,
            writes=True,
            birth=new_birth(),
        )
        return position_of(reply[1], reply[2])

    async def describe(self, caller: Caller, conversation_id: str) -> Description:
        """Describe it to one of its participants."""
        absent = self._calls.keys.conversation(caller.tenant, conversation_id).absent
        reply = await self._calls.run(self._describe, caller, conversation_id, more_keys=(absent,))
        _, epoch, offset, title, created_at, visibility, metadata, role, members, active_run = reply
        return Description(
            conversation_id=conversation_id,
            position=position_of(epoch, offset),
            title=msgspec.json.decode(title, type=str | None),
            created_at=float(created_at),
            visibility=cast("Visibility", text(visibility)),
            metadata=JsonText(metadata),
            role=cast("Role", text(role)),
            members=_members(members),
            active_run=JsonText(active_run) if active_run else None,
        )

    async def join(self, caller: Caller, conversation_id: str, invite: str | None) -> Position:
        """Become a participant of an open conversation, or with an invite; again is harmless.

        Raises:
            NotFound: neither; or an owner has banned the caller.
        """
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply = await self._calls.run(
            self._join,
            caller,
            conversation_id,
            _json(caller.subject),
            token_hash(invite) if invite else "",
            writes=True,
            more_keys=(keys.invites, keys.banned),
        )
        return position_of(reply[1], reply[2])

    async def set_member(
        self,
        caller: Caller,
        conversation_id: str,
        subject: str,
        role: Role | None,
        *,
        ban: bool = False,
    ) -> None:
        """Give a subject a role, or with None remove it.

        Args:
            caller: who does it.
            conversation_id: where.
            subject: whom.
            role: which, or None.
            ban: with None: they cannot join by themselves again. A role lifts that.

        Raises:
            Forbidden: only owners do this to others.
            Conflict: the last owner cannot go while others stay; too many are banned.
        """
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply = await self._calls.run(
            self._set_member,
            caller,
            conversation_id,
            subject,
            _json(subject),
            role or "",
            "1" if ban and role is None else "0",
            writes=True,
            more_keys=(keys.invites, keys.banned),
        )
        if reply[0] == b"last_owner":
            raise Conflict("the last owner cannot leave while others stay")
        if reply[0] == b"full":
            raise Conflict("too many subjects are banned from this conversation")

    async def whisper(
        self, caller: Caller, conversation_id: str, payload: bytes, *, what: str = "typing"
    ) -> None:
        """Tell the others something that is not kept in the log.

        Args:
            caller: who.
            conversation_id: where.
            payload: what the channel carries.
            what: the type of message whose right it takes (gateway/roles.py).

        Raises:
            Forbidden: the caller's role may not send this.
        """
        await self._calls.run(self._whisper, caller, conversation_id, payload, what)

    async def tell_presence(
        self, tenant: str, conversation_id: str, origin: str, pushes: Sequence[tuple[str, bytes]]
    ) -> None:
        """Tell the participants who came and went.

        Args:
            tenant: of the conversation.
            conversation_id: which.
            origin: the connection that need not hear it; empty for none.
            pushes: subject and push as JSON; those who take no part are not told of.
        """
        told = [word for pair in pushes for word in pair]
        await self._calls.run(self._presence, Caller(tenant, ""), conversation_id, origin, *told)


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _members(flat: Sequence[Reply]) -> list[Member]:
    found = []
    for subject, value in zip(flat[::2], flat[1::2], strict=True):
        role, joined_ms = text(value).split(":", 2)[:2]
        found.append(Member(text(subject), cast("Role", role), int(joined_ms) / 1000))
    return sorted(found, key=lambda member: (member.joined_at, member.subject))
