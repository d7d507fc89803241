"""A session driven by hand: frames and time go in, requests come out."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from gateway_client import Options
from gateway_client.protocol.codec import Codec
from gateway_client.protocol.requests import ClientInfo, JoinConversation, Request, SendMessage
from gateway_client.session.session import Session

C = "c_1"


class DrivenSession:
    """A session whose link, server and clock are the test.

    Attributes:
        now: Seconds; 0 is when it was made.
        written: All requests it wrote, oldest first.
    """

    def __init__(self, *, unix_ms: int = 0, **options: Any) -> None:
        self.now = 1000.0
        self.written: list[dict[str, Any]] = []
        self.session = Session(
            codec=Codec("json"),
            client=ClientInfo(name="test", version="0"),
            options=Options(**options),
            random=Random(1),
            unix_ms=unix_ms,
        )

    def live(self, **conversations: dict[str, Any]) -> DrivenSession:
        """Open a link and get a session."""
        self.session.link_opened(self.now)
        connect = self.flush()[-1]
        self.receive(
            type="session_ready",
            reply_to=connect["id"],
            session_id="s_1",
            resume_token="r_1",
            resumed=False,
            conversations=conversations,
        )
        return self

    def joined(self, offset: int = 0) -> DrivenSession:
        """Be live in one conversation, at an offset."""
        self.live()
        self.ask(JoinConversation(conversation_id=C))
        self.reply(type="joined", conversation_id=C, mode="fresh", epoch="e", offset=offset)
        return self

    def flush(self) -> list[dict[str, Any]]:
        """Write; return what was written now."""
        frames = [msgspec.json.decode(frame) for frame in self.session.take_outgoing(self.now)]
        self.written += frames
        return frames

    def receive(self, **message: Any) -> None:
        """Let a message arrive."""
        self.session.receive(msgspec.json.encode(message), self.now)

    def reply(self, **message: Any) -> None:
        """Answer the newest request that has an id."""
        request_id = next(one["id"] for one in reversed(self.written) if "id" in one)
        self.receive(reply_to=request_id, **message)

    def event(self, offset: int, *, epoch: str = "e", **more: Any) -> None:
        """Let an event arrive."""
        event = {"type": "X"}
        self.receive(
            type="event", conversation_id=C, epoch=epoch, offset=offset, event=event, **more
        )

    def ask(self, request: Request) -> list[Any]:
        """Ask and write; return the list that gets the outcome."""
        outcomes: list[Any] = []
        self.session.exchange.ask(request, done=outcomes.append, now=self.now)
        self.flush()
        return outcomes

    def send(self, content: str = "hi", conversation_id: str = C) -> list[Any]:
        """Send a message and write; return the list that gets the outcome."""
        outcomes: list[Any] = []
        message = SendMessage(
            client_message_id=content, content=content, conversation_id=conversation_id
        )
        self.session.exchange.send(message, done=outcomes.append)
        self.flush()
        return outcomes

    def accept(self, content: str = "hi", *, offset: int = 1) -> None:
        """Acknowledge the newest message."""
        self.reply(
            type="message_accepted",
            conversation_id=C,
            message_id="m",
            client_message_id=content,
            epoch="e",
            offset=offset,
        )

    def pass_time(self, seconds: float, *, step_s: float = 0.5) -> list[dict[str, Any]]:
        """Let time pass in ticks; return what was written meanwhile."""
        before = len(self.written)
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step_s)
            self.session.tick(self.now)
            self.flush()
        return self.written[before:]

    def lose(self, code: int = 1006) -> None:
        """Lose the link."""
        self.session.link_lost(code, reason="", now=self.now)

    def take(self) -> Any:
        """Hand the next item over."""
        return self.session.reader.hand_over()


def kinds(written: list[dict[str, Any]]) -> list[str]:
    """The types of requests."""
    return [one["type"] for one in written]
