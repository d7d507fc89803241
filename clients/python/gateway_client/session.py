"""One session over many links, without I/O.

The adapter tells what happened (`link_opened`, `receive`, `link_lost`, `tick`) with the time, and
then does what the session wants: write `take_outgoing()`, read on if `wants_frames`, drop the link
if `wants_drop`, connect again at `reconnect_at`. Times are seconds of one clock that never runs
backwards and goes on while the machine sleeps.

    CONNECTING ──ready──▶ LIVE ──lost──▶ RESUMING ──ready──▶ LIVE
         └────────────────┴── final close, close() ──┴──▶ CLOSED ──reopen()──▶ RESUMING
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import msgspec

from gateway_client import requests
from gateway_client.codec import Codec, Frame
from gateway_client.desk import Desk, DeskOptions
from gateway_client.errors import (
    BadFrame,
    ClientClosed,
    GatewayClientError,
    LinkError,
    RequestFailed,
    SessionReplaced,
)
from gateway_client.inbox import Inbox
from gateway_client.liveness import Liveness
from gateway_client.messages import (
    CustomPush,
    Disconnect,
    Event,
    Hello,
    Item,
    Limits,
    Live,
    Notice,
    Presence,
    SessionWarning,
    Snapshot,
    Typing,
)
from gateway_client.pending import Done
from gateway_client.reader import Reader
from gateway_client.reconnect import Next, plan_after_close
from gateway_client.replies import SessionReady
from gateway_client.saved import SavedState
from gateway_client.status import State, Status

# A link that was live this long was of use: the next drop is answered fast again.
STABLE_S = 10.0
# A longer time between two ticks means that the machine slept or the program was stopped.
JUMP_S = 5.0
ACK_INTERVAL_S = 2.0

_NOTICES: dict[str, type[Notice]] = {
    "presence": Presence,
    "typing": Typing,
    "session_warning": SessionWarning,
    "live": Live,
}


@dataclass(frozen=True)
class Options(DeskOptions):
    """Bounds of a session; seconds, bytes, counts."""

    inbox_items: int = 1000
    inbox_bytes: int = 16 * 1024 * 1024
    ready_timeout_s: float = 10.0


class Session:
    """What a client knows: where it stands, what it waits for, what comes next.

    Args:
        codec: How frames are encoded.
        client: What the client says of itself.
        options: Bounds.
        random: Where jitter comes from.
        saved: A session of an earlier run of the program to go on with.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        client: requests.ClientInfo,
        options: Options,
        random: Random,
        saved: SavedState | None = None,
    ) -> None:
        self.codec = codec
        self.options = options
        self.status = Status(State.CONNECTING)
        self.error: ClientClosed | None = None  # why it is closed
        self.last_error: Exception | None = None  # why it was not live, the last time
        self.hello: Hello | None = None
        self.session_id: str | None = None
        self.resume_token: str | None = None
        self.reconnect_at = 0.0
        self.wants_drop: LinkError | BadFrame | None = None
        self.wants_token = False  # in-band, for the open link
        self.needs_new_token = False  # before the next attempt to connect
        self.inbox = Inbox(max_items=options.inbox_items, max_bytes=options.inbox_bytes)
        self.reader = Reader(self.inbox, ask=self._ask_join)
        self.desk = Desk(codec=codec, options=options, reader=self.reader, random=random)
        self._client = client
        self._random = random
        self._liveness = Liveness()
        self._notices: list[Notice] = []
        self._hint: Disconnect | None = None
        self._is_open = False
        self._attempt = 0
        self._ready_at: float | None = None
        self._ready_by = 0.0
        self._now = 0.0
        self._ticked_at: float | None = None
        self._acked_at = 0.0
        if saved is not None:
            self._restore(saved)

    # --- what the adapter asks --------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether requests are written at once."""
        return self.status.state is State.LIVE

    @property
    def wants_frames(self) -> bool:
        """Whether to read the socket on: there is room, or a reply is due."""
        return not self.inbox.is_full or self.desk.is_reply_due

    def take_outgoing(self, now: float) -> list[Frame]:
        """Return the frames to write, in order. They count as written."""
        frames = self.desk.write(now, is_live=self.is_live) if self._is_open else []
        if frames:
            self._liveness.sent(now)
        return frames

    def take_notices(self) -> list[Notice]:
        """Return the pushes for the application that are not in the log."""
        notices, self._notices = self._notices, []
        return notices

    def take_item(self) -> Item | None:
        """Hand the next event over; the one before counts as dealt with."""
        return self.reader.hand_over()

    def export(self) -> SavedState:
        """Return what another run of the program needs to go on."""
        return SavedState(
            session_id=self.session_id,
            resume_token=self.resume_token,
            cursors=self.reader.saved_cursors(),
            outbox=self.desk.unacknowledged(),
        )

    def _restore(self, saved: SavedState) -> None:
        self.session_id, self.resume_token = saved.session_id, saved.resume_token
        self.reader.restore(saved.cursors)
        for message in saved.outbox:
            self.desk.send(message, done=None)

    # --- the link ---------------------------------------------------------------------------------

    def link_opened(self, now: float) -> None:
        """The WebSocket is open: resume the session, or ask for a new one."""
        self._now = now
        self._is_open = True
        self._hint = None
        self.wants_drop = None
        self.needs_new_token = False
        self._liveness.opened(now)
        self._ready_by = now + self.options.ready_timeout_s
        connect = requests.Connect(
            session_id=self.session_id,
            resume_token=self.resume_token,
            cursors=self.reader.cursors(),
            client=self._client,
        )
        self.desk.ask(connect, done=self._connected, now=now, is_internal=True)

    def _connected(self, outcome: SessionReady | GatewayClientError) -> None:
        if isinstance(outcome, SessionReady):
            self._ready(outcome, self._now)
            return
        if isinstance(outcome, RequestFailed) and not outcome.is_retryable:
            self.session_id = self.resume_token = None  # it is no use as it is
        self.wants_drop = LinkError(str(outcome), code=4104)

    def _ready(self, ready: SessionReady, now: float) -> None:
        self.session_id, self.resume_token = ready.session_id, ready.resume_token
        self._ready_at = self._acked_at = now
        self.status = Status(
            State.LIVE,
            was_resumed=ready.resumed,
            resume_failure=ready.resume_failure,
            away_s=ready.away_s,
        )
        self.reader.resumed(ready.conversations, now)

    def link_lost(self, code: int, *, reason: str, now: float) -> None:
        """The WebSocket is gone, or could not be opened (1006): plan what follows."""
        fault, self.wants_drop = self.wants_drop, None
        was_of_use = self._ready_at is not None and now - self._ready_at >= STABLE_S
        self._attempt = 0 if was_of_use else self._attempt
        self._forget_link(code)
        if isinstance(fault, LinkError) and fault.code is not None:
            code = fault.code
        plan = plan_after_close(
            code,
            reason=str(fault or reason),
            hint=self._hint,
            attempt=self._attempt,
            random=self._random,
        )
        self._attempt += 1
        if isinstance(plan.error, ClientClosed):
            self.close(plan.error)
            return
        self.needs_new_token = plan.next is Next.REFRESH
        self._retry_at(now, plan.delay_s, error=fault or plan.error)

    def _forget_link(self, code: int) -> None:
        self._is_open = False
        self._ready_at = None
        self.wants_token = False
        self.reader.link_lost()
        self.desk.link_lost(code)

    def not_opened(self, error: Exception, *, now: float) -> None:
        """There was no link to open, for want of a token or a network."""
        self.link_lost(1006, reason=str(error), now=now)
        self.last_error = error

    def _retry_at(self, now: float, delay_s: float, *, error: Exception) -> None:
        self.last_error = error
        self.reconnect_at = now + delay_s
        was_ready = self.session_id is not None
        self.status = Status(
            State.RESUMING if was_ready else State.CONNECTING,
            reason=str(error),
            attempt=self._attempt,
            retry_in_s=delay_s,
        )

    def attempt_begins(self) -> None:
        """The adapter starts to connect."""
        if self.status.retry_in_s is not None:
            self.status = replace(self.status, retry_in_s=None)

    def close(self, error: ClientClosed) -> None:
        """No further link: tell everybody who waits."""
        self._is_open = False
        self.error = self.last_error = error
        self.status = Status(State.CLOSED, reason=error.reason)
        self.desk.close(error)

    def reopen(self, now: float) -> None:
        """Go on after a close. A session that was replaced is another's: a new one is asked for,
        at the same cursors, so that nothing is lost and nobody is thrown out.
        """
        if isinstance(self.error, SessionReplaced):
            self.session_id = self.resume_token = None
        self.error = None
        self._attempt = 0
        self.needs_new_token = True
        self.reconnect_at = now
        self.status = Status(State.RESUMING)

    # --- frames -----------------------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> None:
        """Take in one frame.

        Raises nothing: a frame the protocol does not allow makes the session want to drop the link.
        """
        self._now = now
        self._liveness.heard(now)
        sheds = self.inbox.is_full
        try:
            messages = self.codec.decode(frame)
            for message in messages:
                share = len(frame) // len(messages)
                self._take(message, size_bytes=share, sheds=sheds, now=now)
        except msgspec.ValidationError as exc:
            self.wants_drop = BadFrame(str(exc))
        except BadFrame as exc:
            self.wants_drop = exc
        self.wants_drop = self.wants_drop or self.reader.fault

    def _take(self, message: dict[str, Any], *, size_bytes: int, sheds: bool, now: float) -> None:
        if message.get("reply_to") is not None:
            self.desk.reply(message, now)
            return
        match message.get("type"):
            case "event":
                event = msgspec.convert(message, Event)
                self.reader.event(event, size_bytes=size_bytes, sheds=sheds, now=now)
            case "snapshot":
                snapshot = msgspec.convert(message, Snapshot)
                self.reader.snapshot(snapshot, size_bytes=size_bytes, sheds=sheds, now=now)
            case "hello":
                self._greeted(msgspec.convert(message, Hello), now)
            case "disconnect":
                self._hint = msgspec.convert(message, Disconnect)
            case "error":
                self.last_error = self.desk.failure(message)
            case "pong":
                pass  # any frame counts as life
            case str(name):
                self._notice(name, message, now)
            case _:
                problem = "a message without a type"
                raise BadFrame(problem)

    def _greeted(self, hello: Hello, now: float) -> None:
        self.hello = hello
        self.desk.limits = hello.limits
        self._liveness.heartbeat = hello.heartbeat
        self._liveness.heard(now)

    def _notice(self, name: str, message: dict[str, Any], now: float) -> None:
        known = _NOTICES.get(name)
        if known is None:
            self._notices.append(CustomPush(type=name, data=message))
            return
        notice: Notice = msgspec.convert(message, known)
        if isinstance(notice, Live):
            self.reader.live(notice, now)
        if isinstance(notice, SessionWarning) and notice.code == "token_expires_soon":
            self.wants_token = True
        self._notices.append(notice)

    # --- time -------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Time has passed; to be called about twice a second, connected or not."""
        last, self._ticked_at, self._now = self._ticked_at, now, now
        if last is not None and now - last > JUMP_S:
            self.network_changed(now)
        self.desk.expire(now)
        if not self._is_open:
            return
        if not self.wants_frames:
            self._liveness.heard(now)  # it cannot be heard while nobody reads
        elif self._is_link_dead(now):
            self.wants_drop = LinkError("the server is silent", code=1006)
        if self.is_live:
            self._tick_live(now)

    def _is_link_dead(self, now: float) -> bool:
        if not self.is_live and now >= self._ready_by:
            return True
        return self._liveness.is_silent(now) or self.desk.is_overdue(now)

    def _tick_live(self, now: float) -> None:
        self.reader.tick(now, is_reading=self.wants_frames)
        if now - self._acked_at >= ACK_INTERVAL_S:
            self.acknowledge(now)
        if self._liveness.is_ping_due(now):
            self._ping(now)

    def _ping(self, now: float) -> None:
        self._liveness.pinged()
        self.desk.tell(requests.Ping())

    def acknowledge(self, now: float) -> None:
        """Tell the server what the application has dealt with, if that is news."""
        self._acked_at = now
        if self.is_live and (cursors := self.reader.take_acks()):
            self.desk.tell(requests.Ack(cursors=cursors))

    def network_changed(self, now: float) -> None:
        """The machine slept, or has another address: test the link, or try again at once."""
        if self._is_open and self.is_live:
            self._liveness.probe(now)
            self.desk.tell(requests.Ping())
        elif not self._is_open:
            self._attempt = 0
            self.reconnect_at = min(self.reconnect_at, now)

    # --- requests ---------------------------------------------------------------------------------

    def _ask_join(self, request: requests.JoinConversation, done: Done) -> None:
        self.desk.ask(request, done=done, now=self._now, is_internal=True)

    def refresh(self, token: str, *, now: float) -> None:
        """Replace the token of the open link."""
        self.wants_token = False
        request = requests.RefreshToken(token=token)
        self.desk.ask(request, done=self._refreshed, now=now, is_internal=True)

    def _refreshed(self, outcome: object) -> None:
        if isinstance(outcome, GatewayClientError):
            self.last_error = outcome

    @property
    def limits(self) -> Limits:
        """What the server takes."""
        return self.desk.limits
