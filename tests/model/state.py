"""What a state of the world is made of: tuples throughout, so that equal states are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

UP, HUNG, DEAD = "up", "hung", "dead"
NO_REIGN = ""  # of a server that never was a master
# Of a client: it takes what is heard; it stands beyond the topic; it must read; it must read, and
# be given a snapshot; it is resuming, its first read not made
LIVE, AHEAD, BEHIND, LOST, RESUMING = "live", "ahead", "behind", "lost", "resuming"


class Broken(Exception):
    """A promise does not hold."""


class Event(NamedTuple):
    """One entry of a log. Each letter is a message; without one the log began anew (old rules)."""

    epoch: str
    offset: int
    letter: str
    reign: str  # that the epoch began under


Events = tuple[Event, ...]


class Server(NamedTuple):
    """A Redis server and its data, of which only what was appended is of interest."""

    health: str
    is_master: bool
    reign: str  # its own: the present one, or its last
    log: Events
    is_synced: bool  # as a replica


class Stamp(NamedTuple):
    """What a link's look found: which server's reign. `until` is kept by `Rules.is_bounded`."""

    server: int
    reign: str


class Heard(NamedTuple):
    """A position."""

    epoch: str
    offset: int


class Flight(NamedTuple):
    """A call that was written to a link and not carried out yet, by either rules' argument."""

    gateway: int
    server: int
    letter: str
    packed: Stamp | Heard | None


class Call(NamedTuple):
    """What a gateway knows of a message's call: the last try, and what the first one carried."""

    gateway: int
    tried: str  # the reign of the server that was tried last
    packed: Stamp | Heard | None


class Topic(NamedTuple):
    """gateway/fanout/topic.py: position heard, newest events in memory. No epoch: no tail."""

    epoch: str
    offset: int
    memory: Events


class Asked(NamedTuple):
    """A comparison under way: what had been heard, and what the server said."""

    heard: Heard
    found: Heard


class Gateway(NamedTuple):
    """One replica of the gateway. No topic: nobody listens there."""

    topic: Topic | None
    stamps: tuple[Stamp | None, Stamp | None]  # of its links
    asked: Asked | None


class Cut(NamedTuple):
    """What a read found. `snapshot` is None if the cursor was good."""

    heard_epoch: str  # the topic's, when the read was sent
    epoch: str
    offset: int
    events: Events
    snapshot: str | None


class Client(NamedTuple):
    """One client and its reader at its gateway: what it holds, and up to where."""

    at: int
    mode: str
    holds: str  # the letters of all messages that it was given
    epoch: str
    offset: int
    owed: int  # the offset a replay promised; 0 outside of one
    cut: Cut | None  # a read that has been answered, the answer under way


class Left(NamedTuple):
    """How often each may still happen."""

    sends: int = 0
    retries: int = 0
    delays: int = 0  # calls that reach a healthy server late
    hangs: int = 0
    kills: int = 0
    splits: int = 0
    promotions: int = 0
    planned: int = 0  # of them, orderly ones
    abandoned: int = 0  # promotions that are taken back
    restarts: int = 0  # with some of the log lost
    moves: int = 0  # of clients to the other gateway
    slow_reads: int = 0
    slow_asks: int = 0
    skips: int = 0  # pub/sub messages that get lost though later ones are heard


class World(NamedTuple):
    """A state of everything."""

    servers: tuple[Server, Server]
    elected: int  # whom Sentinel or the cluster's majority takes for the master
    writers: tuple[int, ...]  # the gateways whose clients send
    turns_back: bool  # whether gateways may use a server that was replaced, while it answers
    is_split: bool  # gateway 0 reaches only server 0, gateway 1 only server 1
    reigns: int  # so many have begun
    flights: tuple[Flight, ...]
    queues: tuple[Events, Events, Events, Events]  # published: 2 * server + gateway
    gateways: tuple[Gateway, Gateway]
    clients: tuple[Client, ...]
    calls: tuple[Call, ...]  # of the second letter, the third, …
    acknowledged: frozenset[str]
    is_orderly: bool  # nothing was lost, and no server that was replaced has answered
    left: Left


def put(pair, index, item):
    """A tuple with one item changed."""
    return (*pair[:index], item, *pair[index + 1 :])


def spend(world: World, **what: int) -> World:
    """The world with less left."""
    left = world.left
    return world._replace(left=left._replace(**{k: getattr(left, k) - n for k, n in what.items()}))


def tried(step: Callable[..., World], *args: object) -> World | Broken:
    """What comes of a step; or that it broke a promise, as a value."""
    try:
        return step(*args)
    except Broken as broken:
        return broken
