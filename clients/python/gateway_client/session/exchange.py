"""Requests out, replies in: ids, time limits, and what is asked again after a drop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gateway_client.errors import (
    BadFrame,
    FrameTooLarge,
    RequestFailed,
    failure_class,
)
from gateway_client.protocol import requests
from gateway_client.protocol.codec import frame_bytes
from gateway_client.protocol.messages import Cursor, Limits
from gateway_client.protocol.replies import (
    ConversationInfo,
    ErrorReply,
    Joined,
    Left,
    MessageAccepted,
)
from gateway_client.session.outbox import Outbox, Unacknowledged
from gateway_client.session.pending import Pending, PendingRequests
from gateway_client.session.reconnect import jitter_s, told_s

if TYPE_CHECKING:
    from random import Random

    from gateway_client.errors import GatewayClientError
    from gateway_client.protocol.codec import Codec, Frame
    from gateway_client.session.pending import Done
    from gateway_client.session.reader import Reader

# A message refused with one of these is sent again by itself: it was not accepted for a reason
# that passes. `run_active` is not among them: the application asked to be refused in that case.
TRY_AGAIN = frozenset({"rate_limited", "unavailable", "timeout"})
_TOO_BIG = 1009


@dataclass(frozen=True)
class ExchangeOptions:
    """Bounds: messages that wait for acknowledgement, their bytes, seconds for a reply."""

    outbox_messages: int = 1000
    outbox_bytes: int = 16 * 1024 * 1024
    reply_timeout_s: float = 10.0


class Exchange:
    """Where requests are written and replies are matched to them.

    Args:
        codec: How frames are encoded.
        options: Bounds.
        reader: Is told what replies say about where conversations stand.
        random: Where jitter comes from.
    """

    def __init__(
        self, *, codec: Codec, options: ExchangeOptions, reader: Reader, random: Random
    ) -> None:
        self.limits = Limits()
        self._codec = codec
        self._timeout_s = options.reply_timeout_s
        self._reader = reader
        self._random = random
        self._last_id = 0
        self._told: list[Frame] = []
        self._pending = PendingRequests()
        self._outbox = Outbox(max_messages=options.outbox_messages, max_bytes=options.outbox_bytes)

    # --- out --------------------------------------------------------------------------------------

    def ask(
        self,
        request: requests.Request,
        *,
        done: Done,
        now: float,
        timeout_s: float | None = None,
        is_internal: bool = False,
    ) -> int:
        """Ask for a reply; `done` gets it, or an error. Waits for a link if there is none.

        Returns:
            The id, for `withdraw`.

        Raises:
            FrameTooLarge: Nothing is sent.
        """
        request = msgspec.structs.replace(request, id=self._next_id())
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        pending = Pending(
            request_id=request.id,
            name=request.type,
            frame=self._encode(request),
            done=done,
            deadline=now + limit_s,
            timeout_s=limit_s,
            request=request,
            reply=request.reply,
            is_repeatable=request.is_repeatable,
            needs_session=not isinstance(request, requests.Connect),
            is_internal=is_internal,
        )
        self._pending.add(pending)
        return request.id

    def ask_custom(
        self,
        name: str,
        fields: dict[str, Any],
        *,
        done: Done,
        now: float,
        is_repeatable: bool = False,
    ) -> int:
        """Ask with a request of an operator's own; the reply is left as it came."""
        request_id = self._next_id()
        pending = Pending(
            request_id=request_id,
            name=name,
            frame=self._encode({**fields, "type": name, "id": request_id}),
            done=done,
            deadline=now + self._timeout_s,
            timeout_s=self._timeout_s,
            is_repeatable=is_repeatable,
        )
        self._pending.add(pending)
        return request_id

    def tell(self, request: requests.Request) -> None:
        """Write something that has no reply, on this link or never."""
        self._told.append(self._codec.encode(request))

    def send(self, message: requests.SendMessage, *, done: Done | None) -> int:
        """Keep a message until it is acknowledged; `done` gets the outcome.

        Returns:
            The id, for `withdraw`.

        Raises:
            FrameTooLarge, OutboxFull: It was not taken.
        """
        message = msgspec.structs.replace(message, id=self._next_id())
        frame = self._encode(message)
        self._outbox.add(Unacknowledged(message, frame, frame_bytes(frame), done=done))
        return message.id

    def withdraw(self, request_id: int) -> None:
        """Nobody waits any more. A message stays in the outbox: it may be under way."""
        self._pending.pop(request_id)
        if entry := self._outbox.get(request_id):
            entry.done = None

    def write(self, now: float, *, is_live: bool) -> list[Frame]:
        """Return the frames to write now; they count as written from here on."""
        frames = [pending.frame for pending in self._pending.write(is_live=is_live)]
        frames += self._told
        self._told.clear()
        if is_live:
            frames += [entry.frame for entry in self._outbox.write(now)]
        return frames

    def unacknowledged(self) -> list[requests.SendMessage]:
        """The messages the server has not answered for good, in order."""
        return [entry.request for entry in self._outbox]

    # --- in ---------------------------------------------------------------------------------------

    @property
    def is_reply_due(self) -> bool:
        """Whether somebody waits for the server."""
        return self._pending.is_reply_due or self._outbox.is_reply_due

    def reply(self, message: dict[str, Any], now: float) -> None:
        """Match a reply to its request. One that nobody waits for any more is ignored."""
        request_id = message["reply_to"]
        if not isinstance(request_id, int):
            return
        if entry := self._outbox.get(request_id):
            self._message_answered(entry, message, now)
        elif pending := self._pending.pop(request_id):
            pending.done(self._outcome(message, pending.reply, pending.request, now))

    def _message_answered(self, entry: Unacknowledged, reply: dict[str, Any], now: float) -> None:
        outcome = self._outcome(reply, entry.request.reply, entry.request, now)
        if isinstance(outcome, RequestFailed) and outcome.code in TRY_AGAIN:
            delay_s = told_s(outcome.retry_after_ms) or jitter_s(entry.refusals, self._random)
            entry.postpone(until=now + delay_s)
            return
        self._outbox.pop(entry.request.id)
        if entry.done is not None:
            entry.done(outcome)

    def _outcome(
        self,
        message: dict[str, Any],
        reply: type[Any],
        request: requests.Request | None,
        now: float,
    ) -> Any:
        if message.get("type") == "error":
            return self.failure(message)
        if reply is dict:
            return message
        try:
            answer = msgspec.convert(message, reply)
        except msgspec.ValidationError as exc:
            return BadFrame(f"{message.get('type')}: {exc}")
        self._observe(request, answer, now)
        return answer

    @staticmethod
    def failure(message: dict[str, Any]) -> RequestFailed:
        """Return the error reply as an exception."""
        error = msgspec.convert(message, ErrorReply)
        return failure_class(error.code)(
            error.code,
            error.message,
            is_retryable=error.retryable,
            retry_after_ms=error.retry_after_ms,
            details=error.details,
        )

    def _observe(self, request: requests.Request | None, answer: Any, now: float) -> None:
        """Learn from a reply where conversations stand."""
        match answer:
            case Joined():
                asked = request.cursor if isinstance(request, requests.JoinConversation) else None
                if asked is not None and answer.mode == "tail":
                    self._reader.timeline(answer.conversation_id).starts_at(asked)
                self._reader.attached(answer.conversation_id, answer, now)
            case ConversationInfo(position=Cursor() as position) if isinstance(
                request, requests.CreateConversation
            ):
                self._reader.timeline(answer.conversation_id).starts_at(position)
            case MessageAccepted():
                self._accepted(answer, now)
            case Left():
                self._reader.detached(answer.conversation_id)

    def _accepted(self, answer: MessageAccepted, now: float) -> None:
        timeline = self._reader.timeline(answer.conversation_id)
        if not answer.duplicate:  # else it may be from long ago, before this reader began
            timeline.starts_at(Cursor(answer.epoch, answer.offset - 1))
        timeline.promise(Cursor(answer.epoch, answer.offset), now)

    # --- when things end --------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Fail the requests that waited too long; messages are not given up."""
        self._pending.expire(now)

    def is_overdue(self, now: float) -> bool:
        """Whether the server owes the answer to a message for too long."""
        return self._outbox.is_overdue(now, timeout_s=self._timeout_s)

    def link_lost(self, code: int) -> None:
        """Keep what may be asked again. After 1009 nothing that may have been too big is."""
        self._told.clear()
        if code == _TOO_BIG and (entry := self._outbox.largest_written()):
            self._outbox.pop(entry.request.id)
            if entry.done is not None:
                limit_bytes = self.limits.max_frame_bytes
                entry.done(FrameTooLarge(size_bytes=entry.size_bytes, limit_bytes=limit_bytes))
        self._pending.link_lost(may_repeat=code != _TOO_BIG)
        self._outbox.link_lost()

    def close(self, error: GatewayClientError) -> None:
        """Tell all who wait. The messages stay, for `reconnect()` or the next program run."""
        self._pending.fail_all(error)
        self._outbox.fail_waiters(error)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _encode(self, request: Any) -> Frame:
        frame = self._codec.encode(request)
        size_bytes = frame_bytes(frame)
        if size_bytes > self.limits.max_frame_bytes:
            raise FrameTooLarge(size_bytes=size_bytes, limit_bytes=self.limits.max_frame_bytes)
        return frame
