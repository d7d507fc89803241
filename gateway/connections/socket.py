"""The socket of a connection: taken over from the server where it offers that, else by ASGI alone.

Either way the connection is called with what comes, and writes without waiting. Below our own
transport that needs no task; below another ASGI server, one that reads and one that writes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from starlette.websockets import WebSocketDisconnect, WebSocketState

from gateway.transport import control_of, direct_control_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.websockets import WebSocket

    from gateway.fanout.outbox import Outgoing
    from gateway.protocol.decoder import Frame
    from gateway.protocol.encoders import FrameEncoder
    from gateway.transport import DirectControl, Receiver, TransportControl


class Socket(Protocol):
    """An accepted WebSocket. Every method is safe after the peer has gone."""

    @property
    def is_writable(self) -> bool:
        """Whether more may be written now; if not, the receiver's `writing_resumed` tells when."""

    def write(self, items: Sequence[Outgoing]) -> None:
        """Send messages, in order, without waiting."""

    def pause_reading(self) -> None:
        """Let nothing more come."""

    def resume_reading(self) -> None:
        """Let it come again."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; what was written before still leaves."""

    def abort(self) -> None:
        """Drop the connection now."""

    async def serve(self, receiver: Receiver) -> None:
        """Give the receiver all that comes. When this returns, it may still be coming."""


def socket_of(websocket: WebSocket, encoder: FrameEncoder, *, write_timeout_s: float) -> Socket:
    """The best socket that the server offers."""
    control = direct_control_of(websocket.scope)
    if control is not None:
        return DirectSocket(control, encoder)
    return AsgiSocket(websocket, encoder, write_timeout_s=write_timeout_s)


class DirectSocket:
    """A socket of our own transport: finished frames go to it as they are."""

    __slots__ = ("_control", "_encoder", "abort", "close", "pause_reading", "resume_reading")

    def __init__(self, control: DirectControl, encoder: FrameEncoder) -> None:
        self._control = control
        self._encoder = encoder
        self.abort = control.abort
        self.close = control.close
        self.pause_reading = control.pause_reading
        self.resume_reading = control.resume_reading

    @property
    def is_writable(self) -> bool:
        """Whether the peer takes what is written."""
        return self._control.is_writable

    def write(self, items: Sequence[Outgoing]) -> None:
        """Send messages in one write."""
        if len(items) == 1:
            self._control.write(self._wire(items[0]))
        else:
            self._control.write(b"".join([self._wire(item) for item in items]))

    def _wire(self, item: Outgoing) -> bytes:
        encoder = self._encoder
        return encoder.frame(item) if isinstance(item, bytes) else item.wire(encoder)

    async def serve(self, receiver: Receiver) -> None:
        """Hand the connection over: it needs no task from now on."""
        self._control.hand_over(receiver)


class AsgiSocket:
    """A socket of any ASGI server."""

    def __init__(
        self, websocket: WebSocket, encoder: FrameEncoder, *, write_timeout_s: float
    ) -> None:
        self._websocket = websocket
        self._encoder = encoder
        self._write_timeout_s = write_timeout_s
        self._items: list[Outgoing] = []
        self._is_writing = False
        self._sent = 0  # messages that the server has taken
        self._watch: asyncio.TimerHandle | None = None  # on a server that takes none
        self._filled = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._closing: tuple[int, str] | None = None
        self._control: TransportControl | None = None
        with suppress(KeyError):  # another server; there is one on uvicorn's class, hardened
            self._control = control_of(websocket.scope)
        self._aborted = asyncio.Event()

    @property
    def is_writable(self) -> bool:
        """Whether the last messages have been taken by the server."""
        return not self._items and not self._is_writing

    def write(self, items: Sequence[Outgoing]) -> None:
        """Let the writer send messages."""
        self._items.extend(items)
        self._filled.set()

    def pause_reading(self) -> None:
        """Receive no more."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Receive again."""
        self._may_read.set()

    def close(self, code: int, reason: str) -> None:
        """Close after what was written."""
        self._closing = self._closing or (code, reason)
        self._filled.set()

    def abort(self) -> None:
        """Drop the connection below the WebSocket, or else stop serving it."""
        if self._control is not None:
            self._control.abort()
        else:
            self._aborted.set()

    async def serve(self, receiver: Receiver) -> None:
        """Read and write until the connection is over."""
        if self._control is not None:
            self._control.tell_other_frames(receiver.other_frames)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read(receiver), name="reader"),
                    group.create_task(self._write(receiver), name="writer"),
                    group.create_task(self._aborted.wait(), name="aborted"),
                ]
                await asyncio.wait((tasks[0], tasks[2]), return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
        finally:
            self._stop_watching()
            receiver.ended()

    async def _read(self, receiver: Receiver) -> None:
        while (frame := await self._receive()) is not None:
            receiver.message(frame)
            await self._may_read.wait()

    async def _receive(self) -> Frame | None:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    async def _write(self, receiver: Receiver) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            self._is_writing = True
            self._watch_writing(receiver)
            while self._items:
                items, self._items = self._items, []
                await self._send_all(items)
            self._is_writing = False
            self._stop_watching()
            receiver.writing_resumed()
            if self._closing is not None and not self._items:
                await self._close(*self._closing)
                self._may_read.set()  # the end is to be heard
                return

    async def _send_all(self, items: Sequence[Outgoing]) -> None:
        for item in items:
            payloads = [item] if isinstance(item, bytes) else item.payloads(self._encoder)
            for payload in payloads:
                await self._send(payload)

    async def _send(self, payload: bytes) -> None:
        key, value = ("text", payload.decode()) if self._encoder.is_text else ("bytes", payload)
        with suppress(WebSocketDisconnect, RuntimeError, OSError):  # over: the reader is told
            await self._websocket.send({"type": "websocket.send", key: value})
        self._sent += 1

    def _watch_writing(self, receiver: Receiver) -> None:
        """Tell the receiver if the server takes nothing for `write_timeout_s`, nor its peer."""
        before = self._progress()

        def look() -> None:
            if self._progress() != before:
                self._watch_writing(receiver)
            else:
                receiver.writing_stalled()

        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self._write_timeout_s, look)

    def _progress(self) -> tuple[int, int]:
        waiting = 0 if self._control is None else self._control.write_buffer_bytes()
        return self._sent, waiting

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _close(self, code: int, reason: str) -> None:
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            return
        try:
            await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError):
            return
