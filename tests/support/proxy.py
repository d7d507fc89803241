"""A TCP proxy on loopback that fails as networks fail.

A client dials the proxy, the proxy dials the target; each fault says what each end can see of it.
Faults are switched at any time and hold for connections that are open and for those to come,
except `cut`, which ends those that are open.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Self, cast

from tests.support.eventually import eventually

if TYPE_CHECKING:
    from types import TracebackType

CONNECT_TIMEOUT_S = 5.0
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: closing sends RST instead of FIN


class End(asyncio.Protocol):
    """One end of a link: what it receives goes to its peer, unless a fault is on."""

    def __init__(self, proxy: Proxy, *, is_server: bool) -> None:
        self.is_server = is_server
        self.transport: asyncio.Transport | None = None
        self.peer: End | None = None
        self.is_over = False
        self.is_stranded = False
        self._proxy = proxy
        self._delayed: deque[bytes] = deque()

    @property
    def port(self) -> int:
        """Our port of this connection, by which the other side can name it."""
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])

    @property
    def is_swallowed(self) -> bool:
        """Whether what comes from this end is lost now."""
        return self.is_stranded or self._proxy.swallows(from_server=self.is_server)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; reading starts once the link has two ends."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on to the peer, later if there is a delay, or not at all."""
        if self.is_swallowed:
            self._proxy.swallowed_bytes += len(data)
            return
        if self._proxy.is_held if self.is_server else self._proxy.holds_requests:
            self._proxy.held.append((self, data))
            return
        if not self._proxy.delay_s and not self._delayed:
            self.pass_on(data)
            return
        loop = asyncio.get_running_loop()
        self._delayed.append(data)
        # Each timer passes the oldest chunk on, whichever it was made for: chunks stay in order.
        loop.call_later(self._proxy.delay_s, lambda: self.pass_on(self._delayed.popleft()))

    def pass_on(self, data: bytes) -> None:
        """Give bytes to the peer, if it is still there."""
        assert self.peer is not None
        if self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Pass a FIN on; keep our own side open until the peer has sent its own."""
        self.is_over = True
        if self._delayed:  # the end of the stream comes last
            asyncio.get_running_loop().call_later(self._proxy.delay_s, self.eof_received)
            return True
        peer = self.peer
        if peer is None or peer.transport is None or self.transport is None:
            return False
        if self.is_swallowed:
            return True
        if peer.is_over:
            peer.transport.close()
            self.transport.close()
        elif not peer.transport.is_closing():
            peer.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on: a reset as a reset. A silent network passes nothing on."""
        self._proxy.ends.discard(self)
        peer = self.peer
        if peer is None or self.is_swallowed:
            return
        if exc is None:
            if peer.transport is not None:
                peer.transport.close()
        else:
            peer.cut(reset=True)

    def pause_writing(self) -> None:
        """Let a slow receiver slow its sender."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the sender go on."""
        if self.peer is not None:
            self.peer.flow()

    def flow(self) -> None:
        """Read, unless this is the server's end and the proxy is stalled."""
        if self.transport is None or self.transport.is_closing():
            return
        if self.is_server and self._proxy.is_stalled:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def cut(self, *, reset: bool) -> None:
        """End this connection at once: with RST, or with FIN."""
        if self.transport is None:
            return
        if reset:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class Proxy:
    """An asynchronous context manager: listens on a free port of 127.0.0.1 while open.

    Attributes:
        port: where it listens; stays the same over `refuse` and `accept`.
        delay_s: seconds each chunk is held back, in both directions.
        source: the address to dial the target from, any of 127.0.0.0/8; None leaves it open.
        is_stalled: nothing is read from the server.
        is_held: what the server sends waits in `held`, by its end, until it is let through.
        holds_requests: the same for what clients send.
        ends: both ends of every link that is open.
        dialled: connections accepted so far.
        swallowed_bytes: what was lost since the last `heal`, of both directions.
    """

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        source: str | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        """Stand before `host:port`.

        A small `receive_buffer_bytes`, which bounds what the kernel queues for us from the target,
        makes `stall` felt soon.
        """
        self.port = 0
        self.delay_s = 0.0
        self.source = source
        self.is_stalled = False
        self.is_held = self.holds_requests = False
        self.held: list[tuple[End, bytes]] = []
        self.ends: set[End] = set()
        self.dialled = 0
        self.swallowed_bytes = 0
        self._target = (host, port)
        self._receive_buffer_bytes = receive_buffer_bytes
        self._swallow_requests = False
        self._swallow_replies = False
        self._listener: asyncio.Server | None = None
        self._dialling: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.accept()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and cut every connection."""
        await self.refuse()
        self.heal()
        await self.cut()

    @property
    def source_ports(self) -> set[int]:
        """Our ports towards the target, by which its ends can be found among its sockets."""
        return {end.port for end in self.ends if end.is_server}

    def swallows(self, *, from_server: bool) -> bool:
        """Whether what comes from this side is lost now."""
        return self._swallow_replies if from_server else self._swallow_requests

    # Faults

    async def refuse(self) -> None:
        """Refuse new connections, as a host does on which nothing listens."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in list(self._dialling):
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)

    async def accept(self) -> None:
        """Accept new connections, on the same port as before."""
        if self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(
                self._accepted, "127.0.0.1", self.port, backlog=512
            )
            self.port = self._listener.sockets[0].getsockname()[1]

    async def cut(self, *, reset: bool = True) -> None:
        """End every open connection at both ends: with RST, or else with FIN."""
        doomed = list(self.ends)
        for end in doomed:
            end.cut(reset=reset)
        await eventually(lambda: not self.ends.intersection(doomed), what="links are cut")

    def aim_at(self, port: int) -> None:
        """Let new connections lead to another target, as a name does that was pointed elsewhere."""
        self._target = (self._target[0], port)

    def half_open(self) -> None:
        """Swallow everything both ways; both ends see an open, silent connection."""
        self._swallow_requests = self._swallow_replies = True

    def strand(self) -> None:
        """Swallow everything on the connections that are open now, for ever; new ones work.

        So it is when a path dies without a word: what a middlebox has forgotten stays open at
        both ends.
        """
        for end in self.ends:
            end.is_stranded = True

    def swallow_requests(self) -> None:
        """Swallow what the client sends: the server sees a silent client that still hears."""
        self._swallow_requests = True

    def swallow_replies(self) -> None:
        """Swallow what the server sends: requests still arrive and are carried out."""
        self._swallow_replies = True

    def stall(self) -> None:
        """Stop reading from the server: its send buffers fill, as with a stalled client."""
        self.is_stalled = True
        self._flow()

    def let_through(self) -> None:
        """Pass on what is held now; what comes later is held again."""
        held, self.held = self.held, []
        for end, data in held:
            end.pass_on(data)

    def heal(self) -> None:
        """End every fault. What was swallowed stays lost."""
        self.is_held = self.holds_requests = False
        self.let_through()
        self.delay_s = 0.0
        self.swallowed_bytes = 0
        self._swallow_requests = self._swallow_replies = False
        self.is_stalled = False
        self._flow()

    def _flow(self) -> None:
        for end in self.ends:
            if end.peer is not None:
                end.flow()

    # Linking

    def _accepted(self) -> End:
        client = End(self, is_server=False)
        self.dialled += 1
        task = asyncio.create_task(self._link(client), name="proxy dials")
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return client

    async def _link(self, client: End) -> None:
        self.ends.add(client)
        server = End(self, is_server=True)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: server, sock=await self._dial()
                )
        except OSError:
            client.cut(reset=True)
            return
        self.ends.add(server)
        client.peer, server.peer = server, client
        if client not in self.ends:  # it left while we dialled
            server.cut(reset=True)
        client.flow()
        server.flow()

    async def _dial(self) -> socket.socket:
        sock = socket.socket()
        try:
            sock.setblocking(False)  # noqa: FBT003  # takes no keyword
            if self._receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)
            if self.source is not None:
                sock.bind((self.source, 0))
            await asyncio.get_running_loop().sock_connect(sock, self._target)
        except BaseException:
            sock.close()
            raise
        return sock
