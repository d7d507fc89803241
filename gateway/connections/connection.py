"""One socket: what comes in is worked off in order, what goes out leaves once a tick.

An idle connection has no task and no timer. Frames that come start a task, which performs one
request after the other, so that replies are in order and a slow handler slows its own client only,
and ends when nothing waits. One that takes long while others wait is overtaken (turns.py).
What is to be sent is collected in the outbox and written in one piece at the end of the loop's tick
(flusher.py). Nothing here outlives `ended`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.codes import CloseCode
from gateway.connections.dispatcher import Dispatcher
from gateway.connections.inbox import Inbox
from gateway.connections.sender import Sender
from gateway.connections.turns import Turns, Watch, lane_of
from gateway.errors import StoreError
from gateway.fanout.outbox import Outbox
from gateway.fanout.subscriptions import Subscriptions
from gateway.identity.caller import Caller
from gateway.protocol.ids import random_id
from gateway.protocol.messages import Disconnect
from gateway.protocol.state_machine import (
    Close,
    ConnectImplied,
    ConnectionProtocol,
    Perform,
    Refuse,
    Warn,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import msgspec

    from gateway.connections.replica import Replica
    from gateway.connections.session import Session
    from gateway.connections.socket import Socket
    from gateway.identity.tokens import Identity
    from gateway.protocol.decoder import Frame
    from gateway.protocol.encoders import FrameEncoder
    from gateway.protocol.state_machine import Effect

WRITE_BYTES = 65_536  # written at once, so that a slow socket is noticed before it holds more
DONE_AT_ONCE = 64  # messages of batches before others have their turn
GOODBYE_S = 4.0  # what is queued, and `disconnect`, must leave within this time
_log = structlog.get_logger(__name__)


class Connection:
    """A connection whose credential was accepted: the `Receiver` of its socket.

    `open` begins it; `ended` ends it, and it is gone when the replica has forgotten it.
    """

    __slots__ = (
        "_applied",
        "_catching_up",
        "_encoder",
        "_goodbye",
        "_inbox",
        "_protocol",
        "_replica",
        "_requests",
        "_socket",
        "_told_bytes",
        "_watch",
        "_write_bytes",
        "bytes_in",
        "caller",
        "closed_with",
        "connection_id",
        "dispatcher",
        "frames_in",
        "is_over",
        "opened_at",
        "outbox",
        "sender",
        "subscriptions",
    )

    def __init__(
        self,
        replica: Replica,
        socket: Socket,
        identity: Identity,
        encoder: FrameEncoder,
        *,
        opened_at: float,
    ) -> None:
        self.connection_id = random_id("k")
        self.caller = Caller(identity.tenant, identity.subject)
        self.opened_at = opened_at  # when the socket was accepted, before anything was awaited
        self.frames_in = self._applied = self.bytes_in = self._told_bytes = 0
        self.closed_with: CloseCode | None = None
        self.is_over = False  # the socket is gone
        self._replica = replica
        self._socket = socket
        self._encoder = encoder
        self._protocol = _protocol_of(replica, encoder, identity, self.caller)
        self._inbox = Inbox(
            self._protocol, socket, replica.clock, max_bytes=replica.settings.max_frame_bytes
        )
        self._requests: asyncio.Task[None] | None = None
        self._watch = Watch(self._overtake)  # on while something waits
        self._catching_up: asyncio.Task[None] | None = None
        self._goodbye: asyncio.TimerHandle | None = None
        self.outbox = Outbox(
            replica.settings.outbox_bytes, on_full=self._be_slow, on_filled=self._flush_soon
        )
        self._write_bytes = min(WRITE_BYTES, self.outbox.max_bytes // 8)  # written, none can merge
        self.subscriptions = Subscriptions(
            replica.hub,
            replica.store.log,
            self.outbox,
            encoder,
            caller=self.caller,
            connection_id=self.connection_id,
            max_conversations=replica.settings.max_conversations_per_session,
            spawn=self._catch_up,
            fail=self.fail,
        )
        self.sender = Sender(encoder, self.outbox, self._protocol)
        self.dispatcher = Dispatcher(
            replica,
            identity,
            caller=self.caller,
            connection_id=self.connection_id,
            opened_at=opened_at,
            protocol=self._protocol,
            sender=self.sender,
            subscriptions=self.subscriptions,
            close=self.close,
        )

    def open(self) -> None:
        """Be known to the replica, and greet."""
        self._replica.connections.add(self)
        self.push(self._replica.hello(self.caller))
        self.flush()  # at once: it leaves together with the handshake's answer

    def push(self, message: msgspec.Struct) -> None:
        """Send something unasked."""
        self.sender.push(message)

    def tick(self, now: float, unix_now: float) -> None:
        """Let time pass; a backlog of frames counts as life."""
        if self._inbox:
            self._protocol.heard(now)
        sent, self._told_bytes = self.bytes_in - self._told_bytes, self.bytes_in
        limits = self._replica.subject_limits
        self._protocol.full_for_ms = limits.sent_too_much_ms(self.caller, sent, now)
        for effect in self._protocol.tick(now, unix_now):
            if isinstance(effect, Warn):
                self.push(effect.warning)
            elif isinstance(effect, Close):
                self.close(effect)
        self.dispatcher.time_limit.check()
        self._watch.check_time_limits()

    @property
    def session(self) -> Session | None:
        """The session that is attached, if one is."""
        return self.dispatcher.session

    def silent_s(self, now: float) -> float:
        """How long nothing was heard; 0.0 while that is less than the heartbeat allows."""
        silent_s = now - self._protocol.heard_at
        return silent_s if silent_s > self._replica.settings.heartbeat_s * 1.2 else 0.0

    # the end

    def close(self, close: Close) -> None:
        """Say why, and close. What a slow consumer did not take is dropped: it resumes."""
        if self.closed_with is not None or self.is_over:
            return
        self.closed_with = close.code
        self._protocol.close()
        push = Disconnect(
            code=close.code,
            reason=close.code.reason,
            reconnect=close.code.may_reconnect,
            retry_after_ms=close.retry_after_ms,
            window_ms=close.window_ms,
        )
        drop = close.code is CloseCode.SLOW_CONSUMER
        self.outbox.finish(self._encoder.encode(push), drop=drop)
        if close.code is CloseCode.RATE_LIMITED:
            self._socket.pause_reading()  # a flood: until it is closed, TCP holds it back
        self._goodbye = asyncio.get_running_loop().call_later(GOODBYE_S, self._socket.abort)

    def fail(self, code: CloseCode = CloseCode.SERVER_FAULT) -> None:
        """End because of a fault of ours, or because what the client reads is gone."""
        self.close(Close(code))

    def abandon(self) -> None:
        """Stop whatever still goes on: the process ends."""
        for task in (self._requests, self._catching_up):
            if task is not None:
                task.cancel()

    # the socket's Receiver

    def message(self, data: Frame) -> None:
        """Take a frame, and let it be worked off."""
        self.frames_in += 1
        self.bytes_in += len(data)
        self._inbox.add(data)
        if self._requests is None:
            self._work_on()
        elif not self._watch.is_on:
            self._watch.something_waits()

    def other_frames(self, count: int) -> None:
        """Charge for frames that were no whole message."""
        self.frames_in += count
        for effect in self._protocol.count_other_frames(count, self._replica.clock.monotonic_s()):
            if isinstance(effect, Close):
                self.close(effect)

    def writing_resumed(self) -> None:
        """Write what waits."""
        if self.outbox:
            self._flush_soon()

    def writing_stalled(self) -> None:
        """Close as a slow consumer: the client has taken nothing for `write_timeout_s`."""
        bound = self._bound_log()
        bound.info("slow_consumer", waiting_bytes=self.outbox.waiting_bytes)
        self._be_slow()

    def ended(self) -> None:
        """Work off what came before the end, then let go of everything."""
        if self.is_over:
            return
        self.is_over = True
        self.outbox.finish(drop=True)
        if self._goodbye is not None:
            self._goodbye.cancel()
        if self._requests is None:
            self._work_on()

    # what goes out

    def flush(self) -> None:
        """Write what waits, as far as the socket takes it."""
        outbox, socket = self.outbox, self._socket
        while outbox and socket.is_writable:
            socket.write(outbox.take(self._write_bytes))
        if self.closed_with is not None and not outbox:
            socket.close(self.closed_with, self.closed_with.reason)

    def _flush_soon(self) -> None:
        self._replica.flusher.add(self)

    def _be_slow(self) -> None:
        self.close(Close(CloseCode.SLOW_CONSUMER))

    # what comes in

    def _work_on(self) -> None:
        self._requests = asyncio.get_running_loop().create_task(self._work(), name="requests")

    async def _work(self, turns: Turns | None = None) -> None:
        try:
            if turns is not None:
                await turns.run()
                self._watch.turns = turns = None
            while self._watch.turns is None:  # else it was overtaken: the next task goes on
                if self._inbox.large_bytes:
                    await self._share_loop(self._inbox.next_bytes)
                if (effect := self._inbox.take()) is None:
                    break
                self._watch.begin(effect, others_wait=bool(self._inbox))
                await self._apply(effect)
            if self.is_over and self._watch.turns is None:
                await self._let_go()
        except Exception:  # noqa: BLE001  # the edge: a bug costs its own connection only
            self._fail_by_bug()
        finally:
            if self._watch.turns is turns:  # it was not overtaken
                self._rest()

    def _fail_by_bug(self) -> None:
        bound = self._bound_log()
        bound.exception("connection_failed")
        self.fail()

    def _rest(self) -> None:
        self._requests = self._watch.turns = self._watch.at_work = None
        if self.is_over:
            self._replica.connections.remove(self)

    def _overtake(self, long: Effect) -> None:
        """Let others past a request that has been at work for long."""
        lane, overtaken = lane_of(long), self._requests
        if overtaken is None or lane is None or not self._inbox:
            return
        if self.outbox.has_room:  # else what is answered would pile up behind it
            self._watch.turns = turns = Turns(self._inbox, self.dispatcher, overtaken, lane)
            self._requests = asyncio.get_running_loop().create_task(
                self._work(turns), name="requests"
            )

    async def _apply(self, effect: Effect) -> None:
        if self._protocol.is_in_batch:
            await self._give_turns()
            self._watch.at_work = effect
        if self.dispatcher.is_unconfirmed:
            await self.dispatcher.confirm()
        if isinstance(effect, Perform):
            is_overtaken = self._watch.turns is not None  # what follows is performed by others
            following = () if is_overtaken else self._inbox
            await self.dispatcher.perform(self.dispatcher.take(effect.request, following))
            return
        match effect:
            case ConnectImplied():
                await self.dispatcher.imply_connect()
            case Refuse(error, request_id):
                await self.dispatcher.refuse(error, request_id)
            case Close():
                self.close(effect)
            case Warn(warning):
                self.push(warning)

    async def _give_turns(self) -> None:
        """Let others have theirs: a batch may be refused whole without waiting for anything.

        Small frames need no counting, since the inbox takes no more than it holds in a turn.
        """
        self._applied += 1
        if not self._applied % DONE_AT_ONCE:
            await asyncio.sleep(0)
        await self._share_loop(self._protocol.message_bytes)

    async def _share_loop(self, large_bytes: int) -> None:
        """Wait until a large message may be decoded, or may follow one that was."""
        waiting = self._replica.loop_share.take(large_bytes)
        if waiting is not None:
            self._watch.at_work = None  # what waits here is not at work
            await waiting

    def _catch_up(self, work: Coroutine[None, None, None]) -> None:
        if self.is_over:  # nobody is to catch up
            work.close()
            return
        loop = asyncio.get_running_loop()
        self._catching_up = loop.create_task(self._caught_up(work), name="catch-up")

    async def _caught_up(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  # the edge: a bug costs its own connection only
            bound = self._bound_log()
            bound.exception("catch_up_failed")
            self.fail()

    async def _let_go(self) -> None:
        self._protocol.close()
        self.subscriptions.close()
        if self._catching_up is not None:
            self._catching_up.cancel()
        log, session = self._bound_log(), self.dispatcher.session
        log.info(
            "connection_closed",
            code=self.closed_with and int(self.closed_with),
            session_id=session and session.session_id,
            generation=session and session.generation,
            frames_in=self.frames_in,
            lasted_s=round(self._replica.clock.monotonic_s() - self.opened_at, 3),
        )
        try:
            await self.dispatcher.disconnect()
        except StoreError as exc:
            log.warning("disconnect_not_saved", problem=str(exc))

    def _bound_log(self) -> structlog.typing.FilteringBoundLogger:
        bound: structlog.typing.FilteringBoundLogger = _log.bind(
            connection_id=self.connection_id,
            tenant=self.caller.tenant,
            subject=self.caller.subject,
        )
        return bound


def _protocol_of(
    replica: Replica, encoder: FrameEncoder, identity: Identity, caller: Caller
) -> ConnectionProtocol:
    return ConnectionProtocol(
        replica.decoders[encoder.codec],
        replica.settings,
        replica.subject_bucket(caller),
        replica.subject_refusals(caller),
        expires_at=identity.expires_at,
        now=replica.clock.monotonic_s(),
    )
