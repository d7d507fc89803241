"""The client: a session that is complete again after every drop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway_client.conversation import Conversation
from gateway_client.errors import (
    Conflict,
    NotFound,
    RequestInterrupted,
)
from gateway_client.protocol import replies, requests
from gateway_client.requester import Requester

if TYPE_CHECKING:
    from gateway_client.events import EventStream
    from gateway_client.protocol.messages import Cursor

JOIN_ATTEMPTS = 3


class GatewayClient(Requester):
    """One user's session with the gateway: `async with GatewayClient(url, token=…) as client`.

    The arguments are those of `Lifecycle`. The client connects, resumes after every drop, resends
    what was not acknowledged and fetches what was missed. Use it in one event loop only.
    """

    # --- conversations ----------------------------------------------------------------------------

    def conversation(self, conversation_id: str) -> Conversation:
        """Return a handle for a conversation, without asking the server."""
        return Conversation(self, conversation_id)

    async def join(
        self,
        conversation_id: str,
        *,
        create: bool = False,
        visibility: str = "open",
        cursor: Cursor | None = None,
        invite: str | None = None,
    ) -> Conversation:
        """Attach to a conversation: its events arrive from now on, or from after `cursor`.

        If the client already has its own cursor for the conversation, it ignores `cursor`.

        Args:
            conversation_id: The conversation.
            create: Create it, with `visibility`, if it does not exist. Two clients may do this at
                the same time.
            visibility: `open` or `private`.
            cursor: The last event that the application has.
            invite: A code that makes this user a participant.
        """
        known = self.cursor(conversation_id) or cursor
        request = requests.JoinConversation(
            conversation_id=conversation_id, cursor=known, invite=invite
        )
        for _ in range(JOIN_ATTEMPTS - 1):
            try:
                await self.ask(request, replies.Joined)
            except NotFound:
                if not create:
                    raise
            else:
                return self.conversation(conversation_id)
            if await self._create(conversation_id, visibility=visibility):
                return self.conversation(conversation_id)
        await self.ask(request, replies.Joined)
        return self.conversation(conversation_id)

    async def _create(self, conversation_id: str, *, visibility: str) -> bool:
        """Create it; return False if another client did, or if the outcome is unknown."""
        try:
            await self.create_conversation(conversation_id, visibility=visibility)
        except (Conflict, RequestInterrupted):
            return False
        return True

    async def create_conversation(
        self,
        conversation_id: str | None = None,
        *,
        title: str | None = None,
        participants: list[str] | None = None,
        visibility: str = "",
        metadata: dict[str, Any] | None = None,
        history: str = "",
    ) -> Conversation:
        """Create a conversation and attach to it; without an id, the server chooses one.

        With `history` `from_joining`, who joins later sees nothing of what was before.

        Raises:
            Conflict: A conversation with this id exists.
            RequestInterrupted: The link dropped; the outcome is unknown.
        """
        request = requests.CreateConversation(
            conversation_id=conversation_id,
            title=title,
            participants=participants or [],
            visibility=visibility,
            metadata=metadata or {},
            history=history,
        )
        info = await self.ask(request, replies.ConversationInfo)
        return self.conversation(info.conversation_id)

    async def list_conversations(
        self, *, limit: int | None = None, before: str | None = None
    ) -> replies.ConversationPage:
        """Read a page of this user's conversations; `before`: the last id of the previous page."""
        request = requests.ListConversations(limit=limit, before=before)
        return await self.ask(request, replies.ConversationPage)

    # --- events ----------------------------------------------------------------------

    def events(self) -> EventStream:
        """Return the stream of `Event`, `UnreadableEvent`, `Snapshot` and `Detached`.

        Read it with `async for item in …`.

        It yields each item once, and the items of a conversation in the order of its log, through
        any number of drops. A `Snapshot` replaces all that the application had of the conversation.
        There is one stream, for one consumer.
        """
        return self._events
