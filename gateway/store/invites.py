"""Invites: codes that let their holder become a participant. Kept as hashes, by owners only."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gateway.errors import Conflict, NotFound
from gateway.protocol.ids import is_identifier, token_hash
from gateway.protocol.messages import KeptInvite
from gateway.store.calls import ConversationCalls, text
from gateway.store.redis.scripts import ON_CONVERSATION, Script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.identity.caller import Caller
    from gateway.protocol.messages import InviteRole
    from gateway.store.redis.declared import Value
    from gateway.store.redis.link import Reply

_WITH_INVITES = (*ON_CONVERSATION, "invites")


class Invites:
    """The invites of all conversations. All of it is for owners, else Forbidden."""

    def __init__(self, calls: ConversationCalls) -> None:
        self._calls = calls
        self._create = Script("invite", prelude=_WITH_INVITES)
        self._list = Script("list_invites", prelude=_WITH_INVITES)
        self._revoke = Script("revoke_invite", prelude=_WITH_INVITES)

    async def create(  # an invite is all of this
        self,
        caller: Caller,
        conversation_id: str,
        code: str,
        *,
        uses: int,
        ttl_s: int,
        role: InviteRole,
    ) -> None:
        """Store an invite.

        It ends by time, by use, by `revoke`, and with its maker's right to invite.

        Raises:
            Conflict: the conversation has as many as it may have (lua/invites.lua).
        """
        reply = await self._run(
            self._create,
            caller,
            conversation_id,
            writes=True,
            code_hash=token_hash(code),
            uses=uses,
            given_role=role,
            ttl_ms=ttl_s * 1000,
        )
        if reply[0] == b"full":
            raise Conflict("the conversation has too many invites: let some expire, or revoke them")

    async def list(self, caller: Caller, conversation_id: str) -> list[KeptInvite]:
        """Those that can still be used, the oldest first."""
        reply = await self._run(self._list, caller, conversation_id)
        return sorted((_kept(line) for line in reply[1]), key=lambda one: one.created_at)

    async def revoke(self, caller: Caller, conversation_id: str, invite_id: str) -> bool:
        """End an invite; False if there was none."""
        reply = await self._run(
            self._revoke, caller, conversation_id, writes=True, code_hash=invite_id
        )
        return bool(reply[1])

    async def _run(
        self,
        script: Script,
        caller: Caller,
        conversation_id: str,
        *,
        writes: bool = False,
        **named: Value,
    ) -> Sequence[Reply]:
        keys = self._calls.keys.conversation(caller.tenant, conversation_id)
        reply: Sequence[Reply] = await self._calls.run(
            script, caller, conversation_id, writes=writes, invites_key=keys.invites, **named
        )
        return reply


def invite_conversation(code: str) -> str:
    """The conversation an invite is for: it is a part of the code.

    Raises:
        NotFound: it is no invite.
    """
    conversation_id, dot, secret = code.rpartition(".")
    if not dot or not secret or not is_identifier(conversation_id):
        raise NotFound("there is no such invite")
    return conversation_id


def _kept(line: Sequence[Reply]) -> KeptInvite:
    invite_id, until_ms, uses, role, made_ms, maker = (text(part) for part in line)
    return KeptInvite(
        invite_id=invite_id,
        role=cast("InviteRole", role),
        uses_left=int(uses),
        created_at=int(made_ms) / 1000,
        created_by=maker,
        expires_at=int(until_ms) / 1000,
    )
