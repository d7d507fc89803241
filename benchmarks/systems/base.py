"""What one load generator must know of a system: how it is run, and how it is spoken to.

A `System` starts and stops server processes. A `Session` is one client's side of its protocol,
without I/O: it is told what came and says what to send. The generator owns the sockets, the
WebSocket framing and the clock.

A session is read message by message until it `is_joined`, and again wherever a workload wants to
know where it stands. Under load nobody parses: the generator looks for markers in raw bytes, so
every system costs it the same. What it needs then are the three byte strings of `Dialect`.

Everything a server sends comes as text, or as raw HTTP: never compressed, or markers are not
found. A delivered text holds the published text as it was, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECRET = "benchmark-secret-of-more-than-32-bytes"  # noqa: S105  # guards a server that runs for seconds
ID = b"%(id)b"  # 16 digits, another for every publish
TEXT = b"%(text)b"  # what is delivered: ASCII without quotes, backslashes and control characters


class Unavailable(Exception):
    """A system cannot run on this machine; the text says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Redis:
    """The server that a system keeps its state in: empty, of its own, `appendfsync everysec`."""

    port: int
    socket_path: str

    @property
    def url(self) -> str:
        """Over TCP, on this machine."""
        return f"redis://127.0.0.1:{self.port}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a system is to be run."""

    redis: Redis
    cores: tuple[int, ...]  # where all its processes are pinned
    replicas: int = 1  # servers with a port of their own, that share the Redis
    workers: int = 1  # processes of each replica that serve
    with_auth: bool = False  # whether a seat's token is verified; some systems always do
    folder: str = ""  # for logs, configurations and data; exists, empty


@dataclass(frozen=True, slots=True)
class Seat:
    """One client of a workload.

    Attributes:
        number: unique in the workload; a digit string of 6 is a good name.
        rooms: where it takes part, numbers of 0 to 9999.
        is_first: of its rooms: no other seat joins them before this one has joined. A system whose
            rooms must be created does it here.
        mates: the numbers of all seats of its first room, its own too; for a first seat only.
        token: a JWT (HS256 over `SECRET`, `sub` is `subject(number)`, `exp` in an hour).
    """

    number: int
    rooms: tuple[int, ...]
    is_first: bool
    mates: Sequence[int]
    token: str

    @property
    def subject(self) -> str:
        """The `sub` of its token."""
        return subject(self.number)


def subject(number: int) -> str:
    """The name of a seat's user."""
    return f"u{number:06}"


@dataclass(frozen=True, slots=True)
class Dialect:
    r"""What is looked for in bytes that are not parsed.

    Attributes:
        acknowledgement: is sent once to the publisher for each publish that Redis has, and never
            otherwise; never part of what is delivered.
        ping: a whole frame of the application's own keepalive that must be answered with `pong`
            (Engine.IO: b"\x81\x012" and b"3"); WebSocket pings are answered anyway.
        keepalive: the text of a frame that a silent client must send every `keepalive_s`.
    """

    acknowledgement: bytes
    ping: bytes = b""
    pong: bytes = b""
    keepalive: bytes = b""
    keepalive_s: float = 0.0


class Session(ABC):
    """One connection of one client, from its first byte; sans I/O."""

    is_websocket = True  # False: what is sent and what comes is raw, as over an HTTP keep-alive
    is_joined = False  # it hears its rooms, or is ready to publish
    is_caught_up = False  # all it had missed has come; systems that do not tell leave it False

    @abstractmethod
    def opening(self) -> bytes:
        """What is sent first: the HTTP upgrade, to the blank line. May be nothing if raw."""

    @abstractmethod
    def opened(self) -> Iterable[bytes]:
        """The texts to send once upgraded (raw: once connected)."""

    @abstractmethod
    def received(self, message: bytes) -> Iterable[bytes]:
        """Take a text message (raw: a chunk); return the texts to send.

        Called for everything that comes while the session is parsed, published messages too, so
        that it knows where it stands.

        Raises:
            RuntimeError: the server refused something.
        """

    @abstractmethod
    def publishing(self, room: int) -> bytes:
        """A text (raw: a request) that publishes into a room, with `ID` and `TEXT` in it.

        Both are put in with the % operator; a literal % is written twice. What is put in for
        `TEXT` has always the `text_bytes` bytes that the session was made with, so a length can be
        written beforehand.
        """

    def asking(self, room: int, text: str) -> bytes | None:
        """A text that asks the server's own agent for a stream (stream_agent.py).

        None if it runs no agents: the pieces are published then.
        """
        del room, text
        return None

    @abstractmethod
    def resumed(self) -> Session:
        """The session that comes back after this one was cut: it goes on from where this stood."""


class System(ABC):
    """A server with its settings. Started once a workload, on an empty Redis."""

    name: str  # as it stands in tables
    key: str  # on the command line
    is_peer = True
    can_authenticate = True  # with_auth=True is understood
    always_authenticates = False
    can_resume = True
    needs_publishers = False  # publishers are connections of their own and hear nothing
    rooms_a_session = 1  # how many rooms one connection can be in, at most
    warm_up_s = 0.0  # of full load after a start, before its compiler is done
    most_rounds = 5  # fewer where it is so far off that a median of five tells nothing more
    is_for_all_storms = False  # else the first kinds only: the others would take it minutes

    @abstractmethod
    def why_unavailable(self) -> str | None:
        """What is missing and how to get it; None if it can run."""

    def set_up(self) -> None:  # noqa: B027  # most have nothing to do
        """Install what can be installed without root, into `build/`. May raise `Unavailable`."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Of the server, its runtime and the parts that matter."""

    @abstractmethod
    def start(self, deployment: Deployment) -> None:
        """Start all replicas and wait until they accept connections."""

    @abstractmethod
    def stop(self) -> None:
        """End everything that was started, whatever state it is in."""

    @abstractmethod
    def kill(self, replica: int) -> None:
        """SIGKILL a replica."""

    @abstractmethod
    def restart(self, replica: int) -> None:
        """Start a killed replica again, on the same port, remembering nothing."""

    @property
    @abstractmethod
    def ports(self) -> Sequence[int]:
        """Of the replicas, on 127.0.0.1."""

    @property
    @abstractmethod
    def pids(self) -> Sequence[int]:
        """The processes that serve; their CPU time and their memory count."""

    @property
    @abstractmethod
    def dialect(self) -> Dialect:
        """What to look for."""

    @abstractmethod
    def session(self, seat: Seat, *, text_bytes: int) -> Session:
        """A new client: `seat.rooms` are joined. Published texts have `text_bytes` bytes."""

    def publisher(self, seat: Seat, *, text_bytes: int) -> Session:
        """A connection that publishes into `seat.rooms`; if `needs_publishers`, it only does that.

        It is joined when it may publish.
        """
        return self.session(seat, text_bytes=text_bytes)
