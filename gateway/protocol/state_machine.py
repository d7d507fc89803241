"""One connection as a state machine: frames and time in, effects out. No I/O, no clock.

OPEN    hello was sent; a `connect`, or any request, which implies one, makes it READY
READY   requests are performed in the order they came
CLOSED  nothing counts any more

Transitions, in full: what is not in the table is refused and changes nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from gateway.codes import CloseCode
from gateway.errors import BadRequest, RateLimited
from gateway.protocol.decoder import DecodedBatch, Rejected
from gateway.protocol.diagnosis import Misspelling
from gateway.protocol.json_text import exceeds
from gateway.protocol.messages import Connect, Request, SessionWarning
from gateway.protocol.rate_limit import FRAMES_A_REQUEST, TokenBucket
from gateway.protocol.weights import STORING, weight_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.errors import RequestError
    from gateway.protocol.decoder import Decoded, Frame, FrameDecoder
    from gateway.settings import Settings


MAX_MISSPELLINGS = 16  # told to one connection, each once
REFUSALS_FORGOTTEN = 0.1  # of the rate of requests: who stays near the rate is never closed for it


class Phase(Enum):
    """How far a connection has come."""

    OPEN = "open"
    READY = "ready"
    CLOSED = "closed"


_OPEN, _READY, _CLOSED = Phase  # looked up there they cost 0.15 µs each time (Python 3.11)


class Perform(msgspec.Struct, frozen=True):
    """Effect: hand the request to its handler and send what it answers."""

    request: Request


class ConnectImplied(msgspec.Struct, frozen=True):
    """Effect: open a new session, as the client began with another request."""


class Refuse(msgspec.Struct, frozen=True):
    """Effect: answer with an error; the connection stays."""

    error: RequestError
    request_id: str | int | None


class Warn(msgspec.Struct, frozen=True):
    """Effect: push a warning."""

    warning: SessionWarning


class Close(msgspec.Struct, frozen=True):
    """Effect: push `disconnect` and close. The last effect there is."""

    code: CloseCode
    retry_after_ms: int = 0
    window_ms: int = 0


Effect = Perform | ConnectImplied | Refuse | Warn | Close

_PERFORM, _IMPLY, _REFUSE = "perform", "imply", "refuse"
_TRANSITIONS: dict[tuple[Phase, bool], tuple[str, Phase]] = {
    # (phase, is it a `connect`): (what to do, next phase)
    (_OPEN, True): (_PERFORM, _READY),
    (_OPEN, False): (_IMPLY, _READY),
    (_READY, True): (_REFUSE, _READY),
    (_READY, False): (_PERFORM, _READY),
}


class ConnectionProtocol:
    """The protocol's side of one accepted connection.

    Args:
        decoder: reads its frames.
        settings: limits and times.
        subject_bucket: the rate limit it shares with the subject's other connections here.
        subject_refusals: how often they may be refused for it; of its own, if None.
        expires_at: when the credential ends, unix seconds.
        now: monotonic seconds.
    """

    __slots__ = (
        "_batch",
        "_bucket",
        "_decoder",
        "_expires_at",
        "_is_excessive",
        "_is_warned",
        "_max_frame_bytes",
        "_misspellings",
        "_refusals",
        "_request_bytes",
        "_settings",
        "_subject_bucket",
        "_subject_refusals",
        "full_for_ms",
        "heard_at",
        "is_in_batch",
        "message_bytes",
        "phase",
    )

    def __init__(
        self,
        decoder: FrameDecoder,
        settings: Settings,
        subject_bucket: TokenBucket,
        subject_refusals: TokenBucket | None = None,
        *,
        expires_at: float,
        now: float,
    ) -> None:
        self.phase = _OPEN
        self.heard_at = now
        self.full_for_ms = 0  # the subject has sent too much: nothing that is kept is taken
        self._decoder = decoder
        self._settings = settings
        self._max_frame_bytes = settings.max_frame_bytes
        self._request_bytes = settings.request_bytes
        self._expires_at = expires_at
        self._is_warned = False
        self._is_excessive = False  # the last message was refused for its rate
        self._batch: DecodedBatch | None = None
        self.is_in_batch = False  # more of the last frame may follow
        self.message_bytes = 0  # of the last message taken; characters of text
        self._misspellings: tuple[Misspelling, ...] = ()
        self._subject_bucket = subject_bucket
        rate, burst = settings.requests_per_s, settings.requests_burst
        self._bucket = TokenBucket.full(rate, burst=burst, now=now)
        self._refusals = refusals_of(rate, burst=burst, now=now)
        self._subject_refusals = subject_refusals or self._refusals

    def heard(self, now: float) -> None:
        """Something came from the client: any frame counts as life."""
        self.heard_at = now

    def receive(self, frame: Frame, now: float) -> list[Effect]:
        """Take one frame; returns what to do, in order.

        Of a batch that is the first message only: what decoding makes of all of it at once could be
        thirty times its bytes. Call `receive_next` until `is_in_batch` is false, then this again.
        """
        self.heard_at = now
        if self.phase is _CLOSED:
            return []
        if self._is_too_big(frame):
            return [self._close(CloseCode.TOO_BIG)]
        self.message_bytes = size = len(frame)
        if size >= self._request_bytes:
            extra = size // self._request_bytes
            if wait_ms := self._charge(extra, now):
                return self._refuse_undecoded(frame, wait_ms, now, weight=extra)
        elif self._is_excessive and size and (wait_ms := self._charge(0, now)):
            return self._refuse_undecoded(frame, wait_ms, now, weight=1)
        found = self._decoder.decode(frame)
        if type(found) is DecodedBatch:
            self._batch = found
            return self.receive_next(now)
        effects: list[Effect] = []
        for item in found:  # as `_take_all`, without a call for each message
            if isinstance(item, Misspelling):
                effects.extend(self._tell_misspelling(item))
            else:
                self._take(item, now, effects)
        return effects if found else self._charge_frames(1, now)

    def receive_next(self, now: float) -> list[Effect]:
        """Take the next message of a batch; returns what to do."""
        batch, self.is_in_batch = self._batch, False
        if batch is None or self.phase is _CLOSED or (found := next(batch, None)) is None:
            self._batch = None
            return []
        self.is_in_batch, self.message_bytes = True, batch.message_bytes
        return self._take_all(found, now)

    def count_other_frames(self, count: int, now: float) -> list[Effect]:
        """Charge for frames that were no whole message; there is no answer but a close."""
        self.heard_at = now
        return self._charge_frames(count / FRAMES_A_REQUEST, now)

    def connect_failed(self) -> None:
        """The session could not be opened: the client may try again on this connection."""
        if self.phase is _READY:
            self.phase = _OPEN

    def renewed(self, expires_at: float) -> None:
        """The credential was replaced."""
        self._expires_at = expires_at
        self._is_warned = False

    def charge(self, cost: float) -> None:
        """Count what a request turned out to cost beyond its weight, in requests."""
        self._bucket.owe(cost)
        self._subject_bucket.owe(cost)

    def charge_bytes(self, size_bytes: int) -> None:
        """Count what a request returned as what a frame of that size would."""
        if size_bytes >= self._request_bytes:
            self.charge(size_bytes // self._request_bytes)

    def tick(self, now: float, unix_now: float) -> list[Effect]:
        """Let time pass; returns what is due."""
        if self.phase is _CLOSED:
            return []
        if unix_now >= self._expires_at:
            return [self._close(CloseCode.TOKEN_EXPIRED)]
        if now - self.heard_at > self._settings.silence_limit_s:
            return [self._close(CloseCode.SILENT)]
        return list(self._warn(unix_now))

    def close(self) -> None:
        """The connection is over, or about to be."""
        self.phase = _CLOSED

    def _take(self, item: Request | Rejected, now: float, effects: list[Effect]) -> None:
        cost = weight_of(item)
        wait_ms = self._bucket.take(now, cost) or self._subject_bucket.take(now, cost)
        if wait_ms:
            request_id = item.request_id if isinstance(item, Rejected) else item.id
            effects.append(self._refuse_excess(wait_ms, request_id, now))
            return
        self._is_excessive = False
        if isinstance(item, Rejected):
            effects.append(Refuse(item.error, item.request_id))
        elif self.full_for_ms and type(item) in STORING:
            effects.append(Refuse(RateLimited(self.full_for_ms, self._too_much), item.id))
        elif self.phase is _READY and not isinstance(item, Connect):
            effects.append(Perform(item))
        else:
            self._begin(item, effects)

    def _take_all(self, items: Iterable[Decoded], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for item in items:
            if isinstance(item, Misspelling):
                effects.extend(self._tell_misspelling(item))
            else:
                self._take(item, now, effects)
        return effects

    def _charge_frames(self, cost: float, now: float) -> list[Effect]:
        if self.phase is _CLOSED:
            return []
        buckets = (self._bucket, self._subject_bucket)
        wait_ms = next((ms for one in buckets if (ms := one.take(now, cost))), 0)
        refused = self._refuse_excess(wait_ms, None, now, cost) if wait_ms else None
        return [refused] if isinstance(refused, Close) else []

    def _charge(self, extra: int, now: float) -> int:
        """Take what a large frame costs beside its messages, if its first can be paid for too."""
        buckets = (self._bucket, self._subject_bucket)
        return next((ms for one in buckets if (ms := one.take(now, extra, reserve=1))), 0)

    def _refuse_undecoded(
        self, frame: Frame, wait_ms: int, now: float, *, weight: int
    ) -> list[Effect]:
        """Refuse all that is in a frame too much for now; of it only the ids are read."""
        effects: list[Effect] = []
        for request_id in self._decoder.request_ids(frame):
            if self.phase is _CLOSED:
                break
            effects.append(self._refuse_excess(wait_ms, request_id, now, weight))
            weight = 1
        return effects or self._charge_frames(1, now)  # an empty batch

    @property
    def _too_much(self) -> str:
        return f"you may send {self._settings.subject_bytes_per_hour} bytes an hour"

    def _begin(self, item: Request, effects: list[Effect]) -> None:
        action, self.phase = _TRANSITIONS[self.phase, isinstance(item, Connect)]
        if action is _REFUSE:
            error = BadRequest("$.type: this connection has a session already")
            effects.append(Refuse(error, item.id))
            return
        if action is _IMPLY:
            effects.append(ConnectImplied())
        effects.append(Perform(item))

    def _tell_misspelling(self, found: Misspelling) -> Iterator[Effect]:
        if found not in self._misspellings and len(self._misspellings) < MAX_MISSPELLINGS:
            self._misspellings += (found,)
            yield Warn(SessionWarning(code="unknown_field", message=str(found)))

    def _is_too_big(self, frame: Frame) -> bool:
        if isinstance(frame, bytes):
            return len(frame) > self._max_frame_bytes
        return exceeds(frame, self._max_frame_bytes)

    def _refuse_excess(
        self, wait_ms: int, request_id: str | int | None, now: float, weight: float = 1
    ) -> Effect:
        self._is_excessive = True
        if self._refusals.take(now, weight) or self._is_too_much_of_subject(now, weight):
            self.phase = _CLOSED
            return Close(CloseCode.RATE_LIMITED, retry_after_ms=max(wait_ms, 1000))
        return Refuse(RateLimited(wait_ms), request_id)

    def _is_too_much_of_subject(self, now: float, weight: float) -> bool:
        shared = self._subject_refusals
        return shared is not self._refusals and shared.take(now, weight) > 0

    def _warn(self, unix_now: float) -> Iterator[Effect]:
        left_s = self._expires_at - unix_now
        is_soon = left_s <= self._settings.token_warning_s
        if self.phase is _READY and is_soon and not self._is_warned:
            self._is_warned = True
            message = f"the token expires in {round(left_s)} s; send refresh_token"
            yield Warn(SessionWarning(code="token_expires_soon", message=message))

    def _close(self, code: CloseCode) -> Effect:
        self.phase = _CLOSED
        return Close(code)


def refusals_of(rate_per_s: float, *, burst: float, now: float) -> TokenBucket:
    """How often who has this rate may be refused for exceeding it, before the close with 4103.

    As many times as the burst, and little more in the long run: only time brings it back.
    """
    return TokenBucket.full(rate_per_s * REFUSALS_FORGOTTEN, burst=burst, now=now)
