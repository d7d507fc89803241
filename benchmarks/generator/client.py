"""One connection of the generator: dialled, upgraded, parsed, then read as raw bytes."""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from enum import Enum
from typing import TYPE_CHECKING

from benchmarks.generator import frames
from benchmarks.generator.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.generator.engine import Engine
    from benchmarks.systems.base import Dialect, Session

HOST = "127.0.0.1"
READ_BYTES = 65_536  # a larger buffer is mapped anew for each read, which costs more than it saves
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST, so that no port waits in TIME_WAIT
_PING = b"\x89"
_BUSY = (BlockingIOError, InterruptedError)


class Phase(Enum):
    """How far a connection is, and so how its bytes are read."""

    NEW = "not dialled"
    DIALLING = "dialling"
    UPGRADING = "upgrading"
    PARSED = "read message by message"
    RAW = "read as raw bytes"
    CLOSED = "closed"


class Client:
    """A socket with a session.

    Attributes:
        on_raw: given the bytes that come once the session has joined; None: they are parsed, and
            given to the session.
        on_message: given each message that is parsed, after the session.
        on_change: called when a message was parsed, and when the server has closed.
        is_expendable: whether the server may close it.
        read_at: when the last bytes that are parsed were read, in s: what parsing them costs the
            generator comes after it.
    """

    def __init__(self, engine: Engine, session: Session, dialect: Dialect, port: int) -> None:
        self.session = session
        self.phase = Phase.NEW
        self.port = port
        self.on_raw: Callable[[bytes], None] | None = None
        self.on_message: Callable[[bytes], None] | None = None
        self.on_change: Callable[[Client], None] | None = None
        self.is_expendable = False
        self.dialled_at = self.read_at = 0.0  # s of the monotonic clock
        self.fd = -1
        self._engine = engine
        self.dialect = dialect
        self._frames = frames.FrameReader()
        self._unsent = b""
        self._last = b""

    @property
    def is_joined(self) -> bool:
        """Whether its session hears its rooms."""
        return self.session.is_joined

    # writing

    def dial(self) -> None:
        """Connect, without waiting."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.settimeout(0.0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self.phase = Phase.DIALLING
        problem = self._socket.connect_ex((HOST, self.port))
        if problem not in {0, errno.EINPROGRESS}:
            raise OSError(problem, f"cannot dial {self.port}")
        self._engine.watch(self, select.EPOLLOUT)

    def send(self, texts: Iterable[bytes]) -> None:
        """Send messages: in frames, or as they are if the session is raw."""
        if self.session.is_websocket:
            self.write(b"".join(map(frames.frame, texts)))
        else:
            self.write(b"".join(texts))

    def write(self, data: bytes) -> None:
        """Send bytes; what the kernel does not take now goes when it can."""
        if not data or self.phase is Phase.CLOSED:
            return
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except _BUSY:
                pass
            except OSError as problem:
                self._ended(str(problem))
                return
            if data:
                self._engine.rewatch(self, select.EPOLLIN | select.EPOLLOUT)
        self._unsent += data

    def cut(self) -> None:
        """End as a lost network does: without a word."""
        if self.phase not in {Phase.CLOSED, Phase.NEW}:
            self._engine.forget(self)
            self._socket.close()
        self.phase = Phase.CLOSED

    # reading

    def writable(self) -> None:
        """The kernel takes bytes again, or the connection stands."""
        if self.phase is Phase.DIALLING:
            self._connected()
            return
        unsent, self._unsent = self._unsent, b""
        self._engine.rewatch(self, select.EPOLLIN)
        self.write(unsent)

    def readable(self) -> None:
        """Bytes have come, or the end."""
        try:
            data = self._socket.recv(READ_BYTES)
        except _BUSY:
            return
        except OSError as problem:
            self._ended(str(problem))
            return
        if not data:
            self._ended("closed by the server")
            return
        self._last = data
        if self.phase is Phase.RAW:
            self._take_raw(data)
        else:
            self.read_at = time.monotonic()
            self._frames.feed(data)
            self._advance()

    def read_raw(self, on_raw: Callable[[bytes], None]) -> None:
        """Parse no more from here on."""
        self.on_raw = on_raw
        self.phase = Phase.RAW
        if rest := self._frames.rest():
            on_raw(rest)

    def _connected(self) -> None:
        problem = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._ended(errno.errorcode.get(problem, str(problem)))
            return
        self._engine.rewatch(self, select.EPOLLIN)
        self.phase = Phase.UPGRADING
        self.write(self.session.opening())
        if not self.session.is_websocket:
            self._open()

    def _open(self) -> None:
        self.phase = Phase.PARSED
        self._engine.upgraded(self)
        self.send(self.session.opened())
        self._changed()

    def _advance(self) -> None:
        if self.phase is Phase.UPGRADING and not self._read_upgrade():
            return
        while self.phase is Phase.PARSED:
            message = self._next_message()
            if message is None:
                return
            self.send(self.session.received(message))
            if self.on_message is not None:
                self.on_message(message)
            self._changed()
        if self.phase is Phase.RAW and (rest := self._frames.rest()):
            self._take_raw(rest)

    def _read_upgrade(self) -> bool:
        head, end, rest = self._frames.rest().partition(b"\r\n\r\n")
        if not end:
            self._frames.feed(head)
            return False
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise Refused(f"no upgrade: {(head + end + rest)[:500]!r}")
        self._frames.feed(rest)
        self._open()
        return True

    def _next_message(self) -> bytes | None:
        if not self.session.is_websocket:
            return self._frames.rest() or None
        while (found := self._frames.next()) is not None:
            if found.opcode == frames.PING:
                self.write(frames.frame(found.payload, frames.PONG))
            elif found.opcode == frames.CLOSE:
                self._ended(f"closed by the server: {found.payload!r}")
                return None
            elif found.opcode in {frames.TEXT, frames.BINARY}:
                return found.payload
        return None

    def _changed(self) -> None:
        if self.session.is_joined and self.on_raw is not None and self.phase is Phase.PARSED:
            self.phase = Phase.RAW
        if self.on_change is not None:
            self.on_change(self)

    def _take_raw(self, data: bytes) -> None:
        if _PING in data or (self.dialect.ping and self.dialect.ping in data):
            self._answer_pings(data)
        if self.on_raw is not None:
            self.on_raw(data)

    def _answer_pings(self, data: bytes) -> None:
        # 0x89 may also be a length. A pong too many does no harm (RFC 6455, 5.5.3).
        if self.dialect.ping and self.dialect.ping in data:
            self.send([self.dialect.pong])
        start = data.find(_PING)
        if 0 <= start < len(data) - 1 and data[start + 1] < 126:  # noqa: PLR2004  # section 5.5
            payload = data[start + 2 : start + 2 + data[start + 1]]
            self.write(frames.frame(payload, frames.PONG))

    def _ended(self, why: str) -> None:
        self.cut()
        if not self.is_expendable:
            raise Refused(f"{why}; the last that came: {self._last[-400:]!r}")
        if self.on_change is not None:
            self.on_change(self)
