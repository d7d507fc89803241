"""One conversation, as the application uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from gateway_client.protocol import replies, requests
from gateway_client.protocol.messages import AgentContext, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_client.protocol.messages import Content, Cursor
    from gateway_client.requester import Requester

PAGE = 200


class Conversation:
    """A handle for one conversation. It has no state; you may create any number of them.

    Every method raises `RequestFailed` if the server refuses the request, `ReplyTimeout` if it does
    not answer, and `ClientClosed` if the client is closed.
    """

    def __init__(self, client: Requester, conversation_id: str) -> None:
        self.id = conversation_id
        self._client = client

    def __repr__(self) -> str:
        return f"Conversation({self.id!r})"

    @property
    def cursor(self) -> Cursor | None:
        """The last event this client has of the log; None if it is not attached."""
        return self._client.cursor(self.id)

    async def send(
        self,
        content: Content,
        *,
        agent: str | UnsetType | None = UNSET,
        if_running: str = "",
        client_message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> replies.MessageAccepted:
        """Send a message, exactly once, through any number of drops.

        The client keeps the message and resends it until the server answers, even if this call is
        cancelled or times out. Messages of one conversation are accepted in the order in which they
        were sent here. On `rate_limited` and `unavailable` the client waits and sends again.

        Args:
            content: Text, or a list of parts.
            agent: The agent that replies; if left out, the server's default agent; None: no agent.
            if_running: What to do if a run is in progress: `enqueue`, `reject`, `interrupt`.
            client_message_id: Identifies the message when it is sent again; by default a new id.
            timeout_s: How long to wait for the acknowledgement; None: without a limit.

        Raises:
            OutboxFull: Too many messages are waiting for acknowledgement.
            FrameTooLarge: It is larger than the server accepts.
            ReplyTimeout: It was not acknowledged in time; it stays in the outbox.
        """
        return await self._client.send(
            content,
            conversation_id=self.id,
            agent=agent,
            if_running=if_running,
            client_message_id=client_message_id,
            timeout_s=timeout_s,
        )

    async def history(
        self, *, limit: int | None = None, before: int | None = None, after: int | None = None
    ) -> replies.History:
        """Read a page of messages, oldest first: the newest, or those before or after a `seq`."""
        request = requests.GetHistory(
            conversation_id=self.id, limit=limit, before=before, after=after
        )
        return await self._client.ask(request, replies.History)

    async def messages(self, *, after: int = 0) -> AsyncIterator[Message]:
        """Yield all messages after the `seq` `after`, oldest first, reading page by page."""
        while True:
            page = await self.history(limit=PAGE, after=after)
            begun_at = after
            for message in page.messages:
                after = message.seq
                yield message
            after = max(after, page.next or 0)
            if not page.has_more or after == begun_at:
                return

    async def info(self) -> replies.ConversationInfo:
        """Read the title, participants and state of the conversation."""
        request = requests.GetConversation(conversation_id=self.id)
        return await self._client.ask(request, replies.ConversationInfo)

    async def leave(self) -> None:
        """Stop being a participant."""
        await self._client.ask(requests.LeaveConversation(conversation_id=self.id), replies.Left)

    def set_typing(self, active: bool) -> None:  # noqa: FBT001 -- the wire's word, one argument
        """Show the others whether this user is typing; not sent while the link is down."""
        self._client.tell(requests.SetTyping(conversation_id=self.id, active=active))

    # --- the agent's context ----------------------------------------------------------------------

    async def context(self) -> AgentContext:
        """Read memory, workflow and tool calls."""
        return await self._client.ask(requests.GetContext(conversation_id=self.id), AgentContext)

    async def update_context(self, patch: list[dict[str, Any]], *, base_version: int) -> int:
        """Patch memory and workflow (RFC 6902) and return the new version.

        Raises:
            VersionConflict: The context has changed since `base_version`.
            RequestInterrupted: The link dropped; the outcome is unknown.
        """
        request = requests.UpdateContext(
            conversation_id=self.id, base_version=base_version, patch=patch
        )
        return (await self._client.ask(request, replies.ContextUpdated)).version

    async def context_versions(self, *, limit: int | None = None) -> list[replies.ContextVersion]:
        """List the versions that `rollback_context` can restore, newest first."""
        request = requests.ListContextVersions(conversation_id=self.id, limit=limit)
        return (await self._client.ask(request, replies.ContextVersions)).versions

    async def rollback_context(self, version: int) -> int:
        """Restore an old version as a new one, and return the number of the new version.

        Raises:
            RequestInterrupted: The link dropped; the outcome is unknown.
        """
        request = requests.RollbackContext(conversation_id=self.id, version=version)
        return (await self._client.ask(request, replies.ContextUpdated)).version

    # --- runs -------------------------------------------------------------------------------------

    async def cancel_run(self, run_id: str) -> str:
        """Cancel a run and return the state it ended in."""
        request = requests.CancelRun(conversation_id=self.id, run_id=run_id)
        return (await self._client.ask(request, replies.RunCancelled)).status

    async def respond_to_interrupt(
        self, run_id: str, interrupt_id: str, *, status: str = "resolved", payload: Any = UNSET
    ) -> bool:
        """Answer an interrupt of a run; return whether this answer was accepted."""
        request = requests.RespondToInterrupt(
            conversation_id=self.id,
            run_id=run_id,
            interrupt_id=interrupt_id,
            status=status,
            payload=payload,
        )
        return (await self._client.ask(request, replies.InterruptResolved)).winner

    # --- people and messages ----------------------------------------------------------------------

    async def add_participant(
        self, subject: str, *, role: str | None = None
    ) -> replies.ConversationInfo:
        """Add a participant, or change a participant's role; for owners."""
        request = requests.AddParticipant(conversation_id=self.id, subject=subject, role=role)
        return await self._client.ask(request, replies.ConversationInfo)

    async def remove_participant(
        self, subject: str, *, ban: bool | None = None
    ) -> replies.ConversationInfo:
        """Remove a participant; for owners. With `ban` the subject cannot join again by itself."""
        request = requests.RemoveParticipant(conversation_id=self.id, subject=subject, ban=ban)
        return await self._client.ask(request, replies.ConversationInfo)

    async def create_invite(
        self, *, uses: int | None = None, ttl_s: int | None = None, role: str | None = None
    ) -> replies.Invite:
        """Create a code that lets anyone who has it join; for owners."""
        request = requests.CreateInvite(conversation_id=self.id, uses=uses, ttl_s=ttl_s, role=role)
        return await self._client.ask(request, replies.Invite)

    async def invites(self) -> list[replies.KeptInvite]:
        """List the invites that can still be used, oldest first; for owners."""
        request = requests.ListInvites(conversation_id=self.id)
        return (await self._client.ask(request, replies.Invites)).invites

    async def revoke_invite(self, invite_id: str) -> None:
        """End an invite, even if another owner created it; for owners."""
        request = requests.RevokeInvite(conversation_id=self.id, invite_id=invite_id)
        await self._client.ask(request, replies.InviteRevoked)

    async def edit_message(self, message_id: str, content: Content) -> Message:
        """Replace the content of one of this user's own messages."""
        request = requests.EditMessage(
            conversation_id=self.id, message_id=message_id, content=content
        )
        return (await self._client.ask(request, replies.MessageUpdated)).message

    async def delete_message(self, message_id: str) -> Message:
        """Delete a message."""
        request = requests.DeleteMessage(conversation_id=self.id, message_id=message_id)
        return (await self._client.ask(request, replies.MessageUpdated)).message

    async def search(
        self, query: str, *, limit: int | None = None, before: int | None = None
    ) -> list[Message]:
        """Find messages whose text holds `query`, newest first, before a `seq` if given."""
        return (await self.search_page(query, limit=limit, before=before)).messages

    async def search_page(
        self, query: str, *, limit: int | None = None, before: int | None = None
    ) -> replies.SearchResults:
        """Do the same; also tell from where a search goes on that did not look at everything."""
        request = requests.SearchMessages(
            conversation_id=self.id, query=query, limit=limit, before=before
        )
        return await self._client.ask(request, replies.SearchResults)
