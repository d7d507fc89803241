"""One socket: its reader, its worker, its writer.

The reader puts frames into a bounded inbox and waits for nothing else, so that a client is known
to live while a handler runs. The worker performs one request after the other, so that replies are
in order and a slow handler slows its own client only. The writer sends what the outbox holds.
Nothing here outlives `run`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.attachments import Attachments
from gateway.codes import CloseCode
from gateway.ids import random_id
from gateway.messages import Disconnect, Heartbeat, Hello, Limits
from gateway.outbox import Outbox
from gateway.performer import Performer
from gateway.protocol import Close, ConnectImplied, ConnectionProtocol, Perform, Refuse, Warn
from gateway.store.calls import Caller

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import msgspec

    from gateway.codecs import Frame, FrameEncoder
    from gateway.outbox import Outgoing
    from gateway.protocol import Effect
    from gateway.replica import Replica
    from gateway.socket import Socket
    from gateway.tokens import Identity

INBOX_FRAMES = 64  # frames read ahead of the worker; when full, reading stops
GOODBYE_S = 2.0  # what is queued, and `disconnect`, must leave within this time


class Connection:
    """A connection whose credential was accepted. `run` serves it to its end."""

    def __init__(
        self, replica: Replica, socket: Socket, identity: Identity, encoder: FrameEncoder
    ) -> None:
        settings, clock = replica.settings, replica.clock
        self.connection_id = random_id("k")
        self.identity = identity
        self.caller = Caller(identity.tenant, identity.subject)
        self.opened_at = clock.monotonic_s()
        self.frames_in = 0
        self.closed_with: CloseCode | None = None
        self._replica = replica
        self._socket = socket
        self._encoder = encoder
        self._protocol = ConnectionProtocol(
            replica.decoders[encoder.codec],
            settings,
            replica.subject_bucket(self.caller),
            expires_at=identity.expires_at,
            now=self.opened_at,
        )
        self._inbox: asyncio.Queue[Frame | None] = asyncio.Queue(INBOX_FRAMES)
        self._outbox = Outbox(
            settings.outbox_bytes, on_full=lambda: self.close(Close(CloseCode.SLOW_CONSUMER))
        )
        self._group = asyncio.TaskGroup()
        self.attachments = Attachments(
            replica.hub,
            replica.store.log,
            self._outbox,
            encoder,
            caller=self.caller,
            connection_id=self.connection_id,
            max_conversations=settings.max_conversations_per_session,
            spawn=self._spawn,
        )
        self.performer = Performer(replica, self)

    async def run(self) -> None:
        """Serve until the client has gone or was sent away."""
        self.push(self._hello())
        try:
            async with self._group:
                writer = self._group.create_task(self._write(), name="writer")
                worker = self._group.create_task(self._work(), name="worker")
                await self._read()
                await worker
                self.attachments.close()  # before the group ends: the hub may not spawn into it
                self._outbox.finish(drop=True)
                writer.cancel()
        finally:
            self._protocol.close()
            self.attachments.close()

    def push(self, message: msgspec.Struct) -> None:
        """Send a message unasked."""
        self._outbox.put(self._encoder.encode(message))

    def tick(self, now: float, unix_now: float) -> None:
        """Let time pass; a backlog of frames counts as life."""
        if not self._inbox.empty():
            self._protocol.heard(now)
        for effect in self._protocol.tick(now, unix_now):
            if isinstance(effect, Warn):
                self.push(effect.warning)
            elif isinstance(effect, Close):
                self.close(effect)

    def renewed(self, identity: Identity) -> None:
        """The credential was replaced by another of the same subject."""
        self.identity = identity
        self._protocol.renewed(identity.expires_at)

    def connect_failed(self) -> None:
        """No session could be opened; the client may try again on this connection."""
        self._protocol.connect_failed()

    def silent_s(self, now: float) -> float:
        """How long nothing was heard; 0.0 while that is less than the heartbeat allows."""
        silent_s = now - self._protocol.heard_at
        return silent_s if silent_s > self._replica.settings.heartbeat_s * 1.2 else 0.0

    def close(self, close: Close) -> None:
        """Say why, and close. What a slow consumer did not take is dropped: it resumes."""
        if self.closed_with is not None:
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
        self._outbox.finish(self._encoder.encode(push), drop=drop)
        asyncio.get_running_loop().call_later(GOODBYE_S * 2, self._socket.abort)

    def _hello(self) -> Hello:
        settings = self._replica.settings
        return Hello(
            server_time=round(self._replica.clock.unix_s(), 3),
            subject=self.caller.subject,
            tenant=self.caller.tenant,
            heartbeat=Heartbeat(
                interval_s=settings.heartbeat_s, timeout_s=settings.heartbeat_timeout_s
            ),
            limits=Limits(
                max_frame_bytes=settings.max_frame_bytes,
                max_content_bytes=settings.max_content_bytes,
                history_page_max=settings.history_page_max,
            ),
        )

    # tasks

    async def _read(self) -> None:
        while True:
            frame = await self._socket.receive()
            if frame is None:
                break
            self.frames_in += 1
            self._protocol.heard(self._replica.clock.monotonic_s())
            await self._inbox.put(frame)
        await self._inbox.put(None)

    async def _work(self) -> None:
        while (frame := await self._inbox.get()) is not None:
            await self.performer.confirm()
            for effect in self._protocol.receive(frame, self._replica.clock.monotonic_s()):
                await self._apply(effect)

    async def _write(self) -> None:
        while frames := await self._outbox.take():
            for frame in frames:
                if not await self._send(self._encoded(frame)):
                    return
                self._outbox.sent(frame)
        if self.closed_with is not None:
            await self._socket.close(self.closed_with, self.closed_with.reason)

    def _encoded(self, item: Outgoing) -> Frame:
        return item if isinstance(item, str | bytes) else item.frame(self._encoder.codec)

    async def _send(self, frame: Frame) -> bool:
        limit_s = GOODBYE_S if self.closed_with else self._replica.settings.write_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._socket.send(frame)
        except TimeoutError:
            self._socket.abort()
            return False

    def _spawn(self, name: str, work: Coroutine[None, None, None]) -> None:
        try:
            self._group.create_task(work, name=name)
        except RuntimeError:  # the group is ending with its connection: nobody is to catch up
            work.close()

    # effects

    async def _apply(self, effect: Effect) -> None:
        match effect:
            case Perform(request):
                await self.performer.perform(request)
            case ConnectImplied():
                await self.performer.imply_connect()
            case Refuse(error, request_id):
                self.performer.refuse(error, request_id)
            case Close():
                self.close(effect)
            case Warn(warning):
                self.push(warning)
