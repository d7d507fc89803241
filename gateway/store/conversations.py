"""Conversations: created, described, joined, left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import msgspec

from gateway.errors import Conflict, Forbidden, Gone, TooLarge
from gateway.identity.caller import Caller
from gateway.protocol.ids import content_hash, token_hash
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import Position
from gateway.store.calls import ConversationCalls, new_birth, position_of, text
from gateway.store.descriptions import Description, Summary, invited_of, members_of
from gateway.store.redis.scripts import ON_CONVERSATION, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.protocol.messages import CreateConversation, History, Role, Visibility

CANNOT_BE_HAD: Final = "$.conversation_id: this id is not available; choose another"
TOLD_AT_ONCE: Final = 500  # of those who came and went, by one script


class Conversations:
    """The conversations of all tenants."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._create = Script("create", prelude=(*ON_CONVERSATION, "names", "joining", "members"))
        self._describe = Script("describe", prelude=(*ON_CONVERSATION, "names", "state"))
        self._summary = Script("summary")
        self._came = Script("came")
        who_comes_in = (*ON_CONVERSATION, "names", "joining", "members", "invites")
        self._most = calls.settings.max_participants
        self._invites = calls.settings.adding == "invite"
        self._join = Script("join", prelude=who_comes_in)
        self._set_member = Script("set_member", prelude=who_comes_in)
        self._whisper = Script("whisper")
        self._presence = Script("presence")

    async def create(
        self, caller: Caller, conversation_id: str, request: CreateConversation
    ) -> Position:
        """Create it with the caller as owner; again by the same caller is the same.

        Raises:
            Conflict: the id is taken by a conversation that the caller may know of.
            Forbidden: this id cannot be had; whether it is taken is not told.
        """
        what: list[object] = [request.title, request.visibility, request.metadata]
        what.append(request.participants)
        if request.history != "all":
            what.append(request.history)
        pairs = [arg for who in request.participants for arg in (who, _json(who))]
        reply = await self._calls.run(
            self._create,
            caller,
            conversation_id,
            writes=True,
            birth=new_birth(),
            invited_key=self._calls.keys.conversation(caller.tenant, conversation_id).invited,
            created_hash=content_hash(msgspec.json.encode(what, order="sorted")),
            title=_json(request.title),
            visibility=request.visibility,
            metadata=_json(request.metadata),
            subject_json=_json(caller.subject),
            invites=self._invites,
            history=request.history,
            participants=pairs,
        )
        if reply[0] == b"taken":
            raise Forbidden(CANNOT_BE_HAD)
        return position_of(reply[1], reply[2])

    async def describe(self, caller: Caller, conversation_id: str) -> Description:
        """Describe it to one of its participants."""
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply = await self._calls.run(
            self._describe,
            caller,
            conversation_id,
            absent_key=keys.absent,
            invited_key=keys.invited,
        )
        _, epoch, offset, title, created_at, visibility, metadata, role, members, *rest = reply
        run, asked, history = rest
        return Description(
            caller=caller.subject,
            conversation_id=conversation_id,
            position=position_of(epoch, offset),
            title=msgspec.json.decode(title, type=str | None),
            created_at=float(created_at),
            visibility=cast("Visibility", text(visibility)),
            metadata=JsonText(metadata),
            role=cast("Role", text(role)),
            members=members_of(members),
            active_run=JsonText(run) if run else None,
            invited=invited_of(asked),
            history=cast("History", text(history)) if history else "all",
        )

    async def summary(self, caller: Caller, conversation_id: str) -> Summary:
        """What a list says of it: to a participant, or to somebody who was invited by name.

        Raises:
            NotFound: the caller is neither.
        """
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply = await self._calls.run(
            self._summary, caller, conversation_id, invited_key=keys.invited
        )
        if reply[0] == b"invited":
            _, title, created_at, visibility, role, invited_by = reply
            place, metadata = Position("", 0), b"{}"
        else:
            _, epoch, offset, title, created_at, visibility, metadata, role = reply
            place, invited_by = position_of(epoch, offset), None
        return Summary(
            conversation_id=conversation_id,
            title=msgspec.json.decode(title, type=str | None),
            created_at=float(created_at),
            visibility=cast("Visibility", text(visibility)),
            role=cast("Role", text(role)),
            position=place,
            metadata=JsonText(metadata),
            invited_by=None if invited_by is None else text(invited_by),
        )

    async def came(self, caller: Caller, conversation_id: str) -> None:
        """The caller, who may have been added by others, uses it by their own doing."""
        await self._calls.run(self._came, caller, conversation_id)

    async def join(self, caller: Caller, conversation_id: str, invite: str | None) -> Position:
        """Become a participant of an open conversation, with an invite, or where invited by name.

        Again is harmless.

        Raises:
            NotFound: none of these; or an owner has banned the caller.
            Gone: the invite is used up or has expired, a day ago at most.
            TooLarge: there are as many participants as there may be.
        """
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply = await self._calls.run(
            self._join,
            caller,
            conversation_id,
            writes=True,
            invites_key=keys.invites,
            banned_key=keys.banned,
            invited_key=keys.invited,
            tools_key=keys.tools,
            subject_json=_json(caller.subject),
            invite_hash=token_hash(invite) if invite else "",
            max_participants=self._most,
        )
        if reply[0] == b"gone":
            raise Gone("the invite is used up or has expired")
        if reply[0] == b"no_room":
            raise TooLarge(self._no_room())
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
            TooLarge: there are as many participants as there may be.
        """
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply = await self._calls.run(
            self._set_member,
            caller,
            conversation_id,
            writes=True,
            invites_key=keys.invites,
            banned_key=keys.banned,
            invited_key=keys.invited,
            tools_key=keys.tools,
            whom=subject,
            whom_json=_json(subject),
            role=role or "",
            ban=ban and role is None,
            max_participants=self._most,
            invites=self._invites,
        )
        if reply[0] == b"last_owner":
            raise Conflict("the last owner cannot leave while others remain")
        if reply[0] == b"full":
            raise Conflict("too many subjects are banned from this conversation")
        if reply[0] == b"no_room":
            raise TooLarge(self._no_room())

    async def whisper(
        self, caller: Caller, conversation_id: str, payload: bytes, *, what: str = "typing"
    ) -> None:
        """Tell the others something that is not kept in the log.

        Args:
            caller: who.
            conversation_id: where.
            payload: what the channel carries.
            what: the type of message whose right it takes (gateway/protocol/roles.py).

        Raises:
            Forbidden: the caller's role may not send this.
        """
        await self._calls.run(self._whisper, caller, conversation_id, payload=payload, what=what)

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
        for begin in range(0, len(pushes), TOLD_AT_ONCE):
            told = [word for pair in pushes[begin : begin + TOLD_AT_ONCE] for word in pair]
            gateway = Caller(tenant, "")
            await self._calls.run(
                self._presence, gateway, conversation_id, connection=origin, told=told
            )

    def _no_room(self) -> str:
        return f"a conversation has {self._most} participants at most"


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
