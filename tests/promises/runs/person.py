"""A person in a conversation: sends, watches runs, drops out and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.promises.runs.run_log import ToldRun, assert_history_is_told, told
from tests.support.wire import SocketEnded

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.conversation_log import ConversationLog
    from tests.support.dialling import Dialler
    from tests.support.gateways import Endpoint
    from tests.support.wire import WireClient

Message = dict[str, Any]
RUN_S = 20.0  # how long a test waits for a run


class Person:
    """One subject and the socket it has now.

    Attributes:
        client: the socket.
        conversation: its id, once there is one.
    """

    def __init__(self, dial: Dialler, client: WireClient, subject: str) -> None:
        self.client = client
        self.conversation = ""
        self._dial = dial
        self._subject = subject
        self._sent = 0

    @classmethod
    async def at(
        cls, dial: Dialler, endpoint: Endpoint, subject: str = "alice", **options: Any
    ) -> Person:
        """Dial and open a session; options of `WireClient.open`."""
        client = await dial(endpoint, subject, **options)
        await client.connect()
        return cls(dial, client, subject)

    async def create(self, **fields: object) -> str:
        """Create the conversation."""
        self.conversation = await self.client.create(**fields)
        self.client.log(self.conversation)
        return self.conversation

    async def join(self, conversation: str, **fields: object) -> None:
        """Join one; returns when it is live."""
        self.conversation = conversation
        await self.client.request("join_conversation", conversation_id=conversation, **fields)
        await self.client.live(conversation)

    async def send(self, content: object, **fields: object) -> Message:
        """Send a message; return `message_accepted`."""
        if not self.conversation:
            await self.create()
        self._sent += 1
        given = {"client_message_id": f"{self._subject}-{self._sent}"} | fields
        return await self.client.request(
            "send_message", conversation_id=self.conversation, content=content, **given
        )

    async def ask(self, content: object, **fields: object) -> str:
        """Send a message; return the id of the run it starts."""
        run_id: str = (await self.send(content, **fields))["run_id"]
        return run_id

    async def cancel(self, run_id: str) -> str:
        """Cancel a run; return its status."""
        reply = await self.client.request(
            "cancel_run", conversation_id=self.conversation, run_id=run_id
        )
        assert reply["run_id"] == run_id
        status: str = reply["status"]
        return status

    @property
    def log(self) -> ConversationLog:
        """What this person knows of the conversation."""
        return self.client.log(self.conversation)

    def told_of(self, name: str) -> list[Any]:
        """Return the values of the `CUSTOM` events of a name, in order."""
        custom = [frame["event"] for frame in self.log.of_type("CUSTOM")]
        return [event["value"] for event in custom if event["name"] == name]

    def run(self, run_id: str) -> ToldRun:
        """Return what is known of a run, held against the promises."""
        return told(self.log).get(run_id) or ToldRun(run_id)

    async def sees(self, fact: Callable[[], object], *, what: str, within_s: float = RUN_S) -> None:
        """Wait until a fact about what was received holds."""
        await self.client.until(fact, what=what, within_s=within_s)

    async def reads(self, run_id: str, text: str, *, within_s: float = RUN_S) -> None:
        """Wait until the reply of a run holds a text."""
        await self.sees(lambda: text in self.run(run_id).text, what=f"{text!r}", within_s=within_s)

    async def sees_type(self, kind: str, *, count: int = 1) -> None:
        """Wait until so many events of a type have come."""
        await self.sees(lambda: len(self.log.of_type(kind)) >= count, what=f"{count} {kind}")

    async def sees_end(self, run_id: str, *, within_s: float = RUN_S) -> ToldRun:
        """Wait until a run has ended; return it."""
        await self.sees(lambda: self.run(run_id).ends, what=f"{run_id} ends", within_s=within_s)
        return self.run(run_id)

    async def returns(self, endpoint: Endpoint) -> Message:
        """Vanish, and resume the session there; the replay may still be on its way."""
        await self.client.vanish()
        return await self.resumes(endpoint)

    async def resumes(self, endpoint: Endpoint) -> Message:
        """Resume the session there; return `session_ready`."""
        before, self.client = self.client, await self._dial(endpoint, self._subject)
        return await self.client.resume(before)

    async def follows_to_the_end(
        self, run_id: str, endpoints: list[Endpoint], *, within_s: float = RUN_S
    ) -> ToldRun:
        """Wait until a run has ended, resuming at the next endpoint as often as it takes."""
        tries = 0
        while True:
            try:
                return await self.sees_end(run_id, within_s=within_s)
            except SocketEnded:
                await self.resumes(endpoints[tries % len(endpoints)])
                tries += 1

    async def history(self) -> list[Message]:
        """Return the whole history, held against what was told."""
        found = await self.client.history(self.conversation, limit=200)
        assert_history_is_told(found, self.log)
        return found

    async def context(self) -> Message:
        """Return `agent_context`."""
        return await self.client.request("get_agent_context", conversation_id=self.conversation)
