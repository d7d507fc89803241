"""The bounds: what may go wrong, and how often, in each world that is searched."""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.state import (
    HUNG,
    LIVE,
    NO_REIGN,
    UP,
    Client,
    Event,
    Gateway,
    Left,
    Server,
    Topic,
    World,
)


@dataclass(frozen=True)
class Scenario:
    """A world, and what is left to happen in it.

    Args:
        clients: at which gateway each is.
        heard: which gateways have a topic: without one a gateway only writes.
        writers: which gateways write.
        large: what is left in a search of minutes, in place of `left`.
    """

    name: str
    why: str
    left: Left
    large: Left
    clients: tuple[int, ...] = (0,)
    heard: tuple[bool, bool] = (True, False)
    writers: tuple[int, ...] = (0, 1)
    turns_back: bool = True  # gateways may use a server that was replaced
    is_hung: bool = False  # from the beginning
    is_split: bool = False

    def start(self, *, is_large: bool = False) -> World:
        """One message, `a`, which both servers and all clients have."""
        first = Event("A1.1", 1, "a", "A1")
        topic = Topic("A1.1", 1, (first,))
        return World(
            servers=(
                Server(HUNG if self.is_hung else UP, True, "A1", (first,), False),  # noqa: FBT003
                Server(UP, False, NO_REIGN, (first,), True),  # noqa: FBT003
            ),
            elected=0,
            writers=self.writers,
            turns_back=self.turns_back,
            is_split=self.is_split,
            reigns=1,
            flights=(),
            queues=((), (), (), ()),
            gateways=tuple(
                Gateway(topic if one else None, (None, None), None) for one in self.heard
            ),
            clients=tuple(Client(at, LIVE, "a", "A1.1", 1, 0, None) for at in self.clients),
            calls=(),
            acknowledged=frozenset(),
            is_orderly=True,
            left=self.large if is_large else self.left,
        )


WOKEN = Scenario(
    "woken",
    "a master that hung wakes, carries out what lay in its sockets and publishes it",
    Left(sends=2, retries=2, promotions=1),
    Left(sends=3, retries=2, promotions=1),
    writers=(0,),
    turns_back=False,
    is_hung=True,
)
HANGS = Scenario(
    "hangs",
    "a master hangs at any time, is replaced, wakes",
    Left(sends=2, retries=1, hangs=1, promotions=1),
    Left(sends=2, retries=1, hangs=1, promotions=1, delays=1, slow_reads=1),
)
SPLIT = Scenario(
    "split",
    "the network is split: the master and gateway 0, its replica and gateway 1",
    Left(sends=2, retries=1, promotions=1),
    Left(sends=3, retries=1, promotions=1),
    is_split=True,
)
BOTH_SIDES = Scenario(
    "both_sides",
    "the same, with a client on either side",
    Left(sends=1, promotions=1),
    Left(sends=2, promotions=1),
    clients=(0, 1),
    heard=(True, True),
    is_split=True,
)
KILLED = Scenario(
    "killed",
    "a master is killed before its replica has all; a gateway that has heard nothing writes",
    Left(sends=3, kills=1, promotions=1, slow_reads=1),
    Left(sends=3, retries=1, kills=1, promotions=1, slow_reads=1, slow_asks=1),
    clients=(1,),
    heard=(False, True),
)
MOVES = Scenario(
    "moves",
    "a master is killed, and a client moves to the other gateway",
    Left(sends=2, kills=1, promotions=1, moves=1),
    Left(sends=2, hangs=1, promotions=1, moves=2),
)
FAILBACK = Scenario(
    "failback",
    "a master hangs and is replaced, follows, and replaces the other in turn; links stay open",
    Left(sends=2, hangs=1, kills=1, promotions=2),
    Left(sends=2, retries=1, hangs=1, kills=1, promotions=2, delays=1),
)
PLANNED = Scenario(
    "planned",
    "failovers as planned, there and back: nothing is lost and nobody gets a snapshot",
    Left(sends=2, planned=2, slow_asks=1, slow_reads=1),
    Left(sends=2, planned=3, slow_asks=1, slow_reads=1, skips=1),
)
PLANNED_MOVES = Scenario(
    "planned_moves",
    "the same, and a client moves to the other gateway",
    Left(sends=2, planned=1, moves=1),
    Left(sends=2, planned=2, moves=1, slow_asks=1),
    heard=(True, True),
)
RESTARTS = Scenario(
    "restarts",
    "a master comes back without the newest of its log",
    Left(sends=2, restarts=1, slow_reads=1),
    Left(sends=2, restarts=1, moves=1, slow_reads=1, slow_asks=1),
    heard=(True, True),
)
ABANDONED = Scenario(
    "abandoned",
    "a replica is promoted, and made a replica again",
    Left(sends=2, promotions=1, abandoned=1, slow_asks=1),
    Left(sends=2, promotions=1, abandoned=1, slow_reads=1, slow_asks=1, delays=1),
)
ALL = (
    WOKEN,
    HANGS,
    SPLIT,
    BOTH_SIDES,
    KILLED,
    MOVES,
    FAILBACK,
    PLANNED,
    PLANNED_MOVES,
    RESTARTS,
    ABANDONED,
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
