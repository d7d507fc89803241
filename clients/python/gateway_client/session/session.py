"""One session over many links, without I/O.

The adapter tells what happened (`link_opened`, `receive`, `link_lost`, `tick`) with the time, and
then does what the session wants: write `take_outgoing()`, read on if `wants_frames`, drop the link
if `fault` is set, connect again at `reconnect_at`. Times are seconds of one clock that never runs
backwards and goes on while the machine sleeps.

    CONNECTING ──ready──▶ LIVE ──lost──▶ RESUMING ──ready──▶ LIVE
         └────────────────┴── final close, close() ──┴──▶ CLOSED ──reopen()──▶ RESUMING
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gateway_client.errors import (
    BadFrame,
    ClientClosed,
    GatewayClientError,
    LinkError,
    RequestFailed,
    SessionReplaced,
)
from gateway_client.protocol import requests
from gateway_client.protocol.replies import SessionReady
from gateway_client.session.exchange import Exchange, ExchangeOptions
from gateway_client.session.inbox import Inbox
from gateway_client.session.intake import Intake
from gateway_client.session.liveness import Liveness
from gateway_client.session.reader import Reader
from gateway_client.session.reconnect import (
    LOST,
    UNAUTHORIZED,
    UNAVAILABLE,
    Next,
    jitter_s,
    plan_after_close,
)
from gateway_client.session.saved import SavedState
from gateway_client.session.status import State, Status

if TYPE_CHECKING:
    from random import Random

    from gateway_client.protocol.codec import Codec, Frame
    from gateway_client.session.pending import Done

# A link that was live this long was of use: the next drop is answered fast again.
STABLE_S = 10.0
# A longer time between two ticks means that the machine slept or the program was stopped.
JUMP_S = 5.0
ACK_INTERVAL_S = 2.0


@dataclass(frozen=True)
class Options(ExchangeOptions):
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
        unix_ms: The time. Attempts to connect are numbered from there, so that those of a later run
            of the program have higher numbers even if the last ones were not saved.

    Attributes:
        error: Why it is closed.
        last_error: Why it was not live, the last time.
        reconnect_at: When to connect again, if it is not closed.
        needs_new_token: The token known is not to be used for that.
        can_renew_token: There may be another one.
        fault: Why the adapter is to drop the link.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        client: requests.ClientInfo,
        options: Options,
        random: Random,
        unix_ms: int = 0,
    ) -> None:
        self.options = options
        self.status = Status(State.CONNECTING)
        self.error: ClientClosed | None = None
        self.last_error: Exception | None = None
        self.session_id: str | None = None
        self.reconnect_at = 0.0
        self.needs_new_token = False
        self.can_renew_token = False
        self.fault: LinkError | BadFrame | None = None
        self.inbox = Inbox(max_items=options.inbox_items, max_bytes=options.inbox_bytes)
        self.reader = Reader(self.inbox, ask=self._ask_join)
        self.exchange = Exchange(codec=codec, options=options, reader=self.reader, random=random)
        self.intake = Intake(codec=codec, exchange=self.exchange, reader=self.reader)
        self._client = client
        self._random = random
        self._liveness = Liveness()
        self._resume_token: str | None = None
        self._connects = unix_ms
        self._clear()

    def _clear(self) -> None:
        self._is_open = False
        self._now = self._acked_at = self._ready_by = 0.0
        self._ticked_at: float | None = None
        self._ready_at: float | None = None
        self._attempt = 0
        self._was_refused = False

    # --- what the adapter asks --------------------------------------------------------------------

    @property
    def is_live(self) -> bool:
        """Whether requests are written at once."""
        return self.status.state is State.LIVE

    @property
    def wants_frames(self) -> bool:
        """Whether to read the socket on: there is room, or a reply is due."""
        return not self.inbox.is_full or self.exchange.is_reply_due

    def take_outgoing(self, now: float) -> list[Frame]:
        """Return the frames to write, in order. They count as written."""
        frames = self.exchange.write(now, is_live=self.is_live) if self._is_open else []
        if frames:
            self._liveness.sent(now)
        return frames

    def export(self) -> SavedState:
        """Return what another run of the program needs to go on."""
        return SavedState(
            session_id=self.session_id,
            resume_token=self._resume_token,
            connects=self._connects,
            cursors=self.reader.saved_cursors(),
            outbox=self.exchange.unacknowledged(),
        )

    def restore(self, saved: SavedState) -> None:
        """Go on with a session of an earlier run; to be called before anything else."""
        self.session_id, self._resume_token = saved.session_id, saved.resume_token
        self._connects = max(self._connects, saved.connects)
        self.reader.restore(saved.cursors)
        for message in saved.outbox:
            self.exchange.send(message, done=None)

    # --- the link ---------------------------------------------------------------------------------

    def attempt_begins(self) -> None:
        """The adapter starts to connect."""
        if self.status.retry_in_s is not None:
            self.status = replace(self.status, retry_in_s=None)

    def link_opened(self, now: float) -> None:
        """The WebSocket is open: resume the session, or ask for a new one."""
        self._now = now
        self._is_open = True
        self.fault = None
        self.needs_new_token = False
        self.intake.link_opened()
        self._liveness.opened(now)
        self._ready_by = now + self.options.ready_timeout_s
        self._connects += 1
        connect = requests.Connect(
            session_id=self.session_id,
            resume_token=self._resume_token,
            attempt=self._connects,
            cursors=self.reader.cursors(),
            client=self._client,
        )
        self.exchange.ask(connect, done=self._connected, now=now, is_internal=True)

    def _connected(self, outcome: SessionReady | GatewayClientError) -> None:
        if isinstance(outcome, SessionReady):
            self._ready(outcome)
            return
        if isinstance(outcome, RequestFailed) and not outcome.is_retryable:
            self._forget_session()  # what is wrong with it will not mend
        self.fault = LinkError(str(outcome), code=UNAVAILABLE)

    def _ready(self, ready: SessionReady) -> None:
        self.session_id, self._resume_token = ready.session_id, ready.resume_token
        self._ready_at = self._acked_at = self._now
        self._was_refused = False
        self.status = Status(
            State.LIVE,
            was_resumed=ready.resumed,
            resume_failure=ready.resume_failure,
            away_s=ready.away_s,
        )
        self.reader.resumed(ready.conversations, self._now)

    def _forget_session(self) -> None:
        self.session_id = self._resume_token = None

    def link_lost(self, code: int, *, reason: str, now: float) -> None:
        """The WebSocket is gone, or could not be opened (1006): plan what follows."""
        fault, self.fault = self.fault, None
        if isinstance(fault, LinkError) and fault.code is not None:
            code = fault.code
        if self._ready_at is not None and now - self._ready_at >= STABLE_S:
            self._attempt = 0
        self._is_open = False
        self._ready_at = None
        self.reader.link_lost()
        self.exchange.link_lost(code)
        plan = plan_after_close(
            code,
            reason=str(fault or reason),
            hint=self.intake.hint,
            attempt=self._attempt,
            random=self._random,
        )
        if isinstance(plan.error, ClientClosed):
            if plan.error.code == UNAUTHORIZED:
                self.token_refused(plan.error, now=now)
            else:
                self.close(plan.error)
            return
        self.needs_new_token = plan.next is Next.REFRESH
        self._retry(now, plan.delay_s, error=fault or plan.error)

    def token_refused(self, error: ClientClosed, *, now: float) -> None:
        """The server does not accept this token: try one other, if there may be one, or give up."""
        if self._was_refused or not self.can_renew_token:
            self.close(error)
            return
        self._was_refused = self.needs_new_token = True
        delay_s = 0.0 if self._attempt == 0 else jitter_s(self._attempt, self._random)
        self._retry(now, delay_s, error=LinkError(error.reason, code=error.code))

    def not_opened(self, error: Exception, *, now: float) -> None:
        """There was no link to open, for want of a token or a network."""
        self.intake.link_opened()
        had_to_refresh = self.needs_new_token
        self.link_lost(LOST, reason=str(error) or type(error).__name__, now=now)
        self.needs_new_token = had_to_refresh
        self.last_error = error

    def _retry(self, now: float, delay_s: float, *, error: Exception) -> None:
        self._attempt += 1
        self.last_error = error
        self.reconnect_at = now + delay_s
        self.status = Status(
            State.CONNECTING if self.session_id is None else State.RESUMING,
            reason=str(error),
            attempt=self._attempt,
            retry_in_s=delay_s,
        )

    def close(self, error: ClientClosed) -> None:
        """No further link: tell everybody who waits."""
        self._is_open = False
        self.error = self.last_error = error
        self.status = Status(State.CLOSED, reason=error.reason)
        self.exchange.close(error)

    def reopen(self, now: float) -> None:
        """Go on after a close.

        A session that was replaced is another connection's: a new one is asked for, at the same
        cursors, so that nothing is lost and nobody is thrown out.
        """
        if isinstance(self.error, SessionReplaced):
            self._forget_session()
        self._clear()
        self.error = None
        self.reconnect_at = now
        self.status = Status(State.RESUMING)

    # --- frames and time --------------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> None:
        """Take in one frame. One that the protocol does not allow is a `fault` of the link."""
        self._now = now
        self._liveness.heard(now)
        greeting = self.intake.hello
        try:
            self.intake.receive(frame, now)
        except BadFrame as exc:
            self.fault = exc
        self.fault = self.fault or self.reader.fault
        self.last_error = self.intake.refusal or self.last_error
        if self.intake.hello is not None and self.intake.hello is not greeting:
            self._liveness.greeted(self.intake.hello.heartbeat, now)

    def tick(self, now: float) -> None:
        """Time has passed; to be called about twice a second, connected or not."""
        last, self._ticked_at, self._now = self._ticked_at, now, now
        if last is not None and now - last > JUMP_S:
            self.network_changed(now)
        self.exchange.expire(now)
        if not self._is_open:
            return
        if not self.wants_frames:
            self._liveness.heard(now)  # nothing can be heard while nobody reads
        elif self._is_link_dead(now):
            self.fault = self.fault or LinkError("the server is silent", code=LOST)
        if self.is_live:
            self._tick_live(now)

    def _is_link_dead(self, now: float) -> bool:
        if not self.is_live and now >= self._ready_by:
            return True
        return self._liveness.is_silent(now) or self.exchange.is_overdue(now)

    def _tick_live(self, now: float) -> None:
        self.reader.tick(now, is_reading=self.wants_frames)
        if now - self._acked_at >= ACK_INTERVAL_S:
            self.acknowledge(now)
        if self._liveness.is_ping_due(now):
            self._liveness.pinged()
            self.exchange.tell(requests.Ping())

    def acknowledge(self, now: float) -> None:
        """Tell the server what the application has dealt with, if that is news."""
        self._acked_at = now
        if self.is_live and (cursors := self.reader.take_acks()):
            self.exchange.tell(requests.Ack(cursors=cursors))

    def network_changed(self, now: float) -> None:
        """The machine slept, or has another address: test the link, or try again at once."""
        if self._is_open:
            self._liveness.probe(now)
            self.exchange.tell(requests.Ping())
        else:
            self._attempt = 0
            self.reconnect_at = min(self.reconnect_at, now)

    # --- requests of its own ----------------------------------------------------------------------

    def _ask_join(self, request: requests.JoinConversation, done: Done) -> None:
        self.exchange.ask(request, done=done, now=self._now, is_internal=True)

    def refresh(self, token: str, *, now: float) -> None:
        """Replace the token of the open link."""
        self.intake.is_token_expiring = False
        request = requests.RefreshToken(token=token)
        self.exchange.ask(request, done=self._refreshed, now=now, is_internal=True)

    def _refreshed(self, outcome: Any) -> None:
        if isinstance(outcome, GatewayClientError):
            self.last_error = outcome
