"""The loop of the generator: one thread, one epoll, as many connections as the workload needs."""

from __future__ import annotations

import gc
import resource
import select
import time
from collections import deque
from typing import TYPE_CHECKING, Self, TypeVar

from benchmarks.generator.client import Phase
from benchmarks.generator.errors import TooSlow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from benchmarks.generator.client import Client

AT_ONCE = 256  # connections being dialled: what every server's backlog takes without a lost SYN
POLL_S = 0.05
EVENTS = 1024
T = TypeVar("T")


class Engine:
    """Watches the sockets of all clients. A context manager; clients end with it.

    Attributes:
        turns: called after each round of events, with the time in s; they may publish.
        idle_s: how long a round waits for events, at most.
    """

    def __init__(self) -> None:
        self.turns: list[Callable[[float], None]] = []
        self.idle_s = POLL_S
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._to_dial: deque[Client] = deque()
        self._dialling: set[Client] = set()
        self._keepalives: deque[tuple[float, Client]] = deque()  # when due, the next one first

    def __enter__(self) -> Self:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        gc.collect()
        gc.disable()  # its pauses are not the servers'
        return self

    def __exit__(self, *_: object) -> None:
        for client in list(self._clients.values()):
            client.cut()
        self._epoll.close()
        gc.enable()

    def run_until(self, is_done: Callable[[], bool], *, within_s: float, what: str) -> None:
        """Serve the sockets until something is so.

        Raises:
            TooSlow: it was not within the time.
        """
        end = time.monotonic() + within_s
        while not is_done():
            now = self.turn()
            if now > end:
                raise TooSlow(f"{what}: not within {within_s:g} s")

    def run_until_all(
        self, items: Iterable[T], is_done: Callable[[T], bool], *, within_s: float, what: str
    ) -> None:
        """Serve the sockets until it is so of each; looks no further than at the first it is not.

        Raises:
            TooSlow: it was not within the time.
        """
        left = list(items)

        def are_done() -> bool:
            while left and is_done(left[-1]):
                left.pop()
            return not left

        self.run_until(are_done, within_s=within_s, what=what)

    def run_for(self, seconds: float) -> None:
        """Serve the sockets for a time."""
        end = time.monotonic() + seconds
        while self.turn() < end:
            pass

    def turn(self) -> float:
        """Serve what is there now; return the time in s."""
        clients = self._clients
        for fd, event in self._epoll.poll(self.idle_s, EVENTS):
            client = clients.get(fd)
            if client is None:
                continue  # cut by one before it in this round
            if event & ~select.EPOLLOUT and client.phase is not Phase.DIALLING:
                client.readable()
            if event & (select.EPOLLOUT | select.EPOLLERR) and client.phase is not Phase.CLOSED:
                client.writable()
        now = time.monotonic()
        for each in self.turns:
            each(now)
        self._dial_more(now)
        self._keep_alive(now)
        return now

    def dial(self, clients: Iterable[Client]) -> None:
        """Connect them all, `AT_ONCE` at a time."""
        self._to_dial.extend(clients)
        self._dial_more(time.monotonic())

    def upgraded(self, client: Client) -> None:
        """The server has taken the connection: another may be dialled."""
        self._dialling.discard(client)
        if client.dialect.keepalive:
            self._keepalives.append((time.monotonic() + client.dialect.keepalive_s, client))

    def watch(self, client: Client, events: int) -> None:
        """Begin to watch a socket."""
        self._clients[client.fd] = client
        self._epoll.register(client.fd, events)

    def rewatch(self, client: Client, events: int) -> None:
        """Watch it for something else."""
        self._epoll.modify(client.fd, events)

    def forget(self, client: Client) -> None:
        """Stop watching it, before it is closed."""
        self._dialling.discard(client)
        if self._clients.pop(client.fd, None) is not None:
            self._epoll.unregister(client.fd)

    def _dial_more(self, now: float) -> None:
        while self._to_dial and len(self._dialling) < AT_ONCE:
            client = self._to_dial.popleft()
            self._dialling.add(client)
            client.dialled_at = now
            client.dial()

    def _keep_alive(self, now: float) -> None:
        while self._keepalives and self._keepalives[0][0] <= now:
            _, client = self._keepalives.popleft()
            if client.phase is not Phase.CLOSED:
                client.send([client.dialect.keepalive])
                self._keepalives.append((now + client.dialect.keepalive_s, client))
