"""What a seed stands for: topology, durability, faults in order, and load."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.failover import faults_cluster, faults_sentinel, faults_standalone
from tests.failover.parted import parted_ground

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.failover.scenario import Stage

DURABILITIES = ("memory", "replicated")


@dataclass(frozen=True)
class Fault:
    """One thing that is done to the servers.

    Attributes:
        is_orderly: nothing may be lost by it that a client has seen.
        has_two_masters: the old master may go on answering after it was replaced.
        strays: with two replicas, one stays with the old master for a while and then forgets what
            it took from it: WAIT counts it, so `replicated` may lose what was accepted meanwhile
            (docs/operations.md, Durability: "if the replica that has it is promoted").
    """

    name: str
    cause: Callable[[Stage], Awaitable[None]]
    is_orderly: bool = False
    has_two_masters: bool = False
    strays: bool = False


@dataclass(frozen=True)
class Kind:
    """A fault on a topology.

    Attributes:
        topologies: one of them is chosen.
        faults: these in order; a campaign chooses among them.
        is_busy: everybody talks meanwhile; else the fault itself makes them.
        ground: opens the servers and gateways; None for those of `topologies.py`.
        patience_s: how long each of the gateways waits for Redis.
    """

    name: str
    topologies: tuple[str, ...]
    faults: tuple[Fault, ...]
    durabilities: tuple[str, ...] = DURABILITIES
    is_busy: bool = True
    is_campaign: bool = False
    ground: Any = None
    patience_s: tuple[float, float] = (1, 1)

    @property
    def is_orderly(self) -> bool:
        """Whether readers lose nothing by any of its faults."""
        return all(fault.is_orderly for fault in self.faults)


@dataclass(frozen=True)
class Plan:
    """A scenario, whole: the same seed gives the same one."""

    seed: int
    kind: Kind
    topology: str
    durability: str
    faults: tuple[Fault, ...]
    clients: int
    pause_s: float

    def __str__(self) -> str:
        faults = ", ".join(fault.name for fault in self.faults)
        servers = f"{self.topology}, {self.durability}, {self.clients} clients"
        return f"seed {self.seed}: {servers}: {faults}"

    @property
    def may_lose_accepted(self) -> bool:
        """Whether even `replicated` may lose what was accepted; clients are told all the same."""
        return self.topology == "sentinel-2" and any(fault.strays for fault in self.faults)

    @property
    def has_two_masters(self) -> bool:
        """Whether a master that was replaced may go on answering for a while."""
        return any(fault.has_two_masters for fault in self.faults)


def plan_of(
    seed: int, kind: Kind, *, durability: str | None = None, topology: str | None = None
) -> Plan:
    """Return the plan of a seed; what is given is not left to it."""
    dice = random.Random(f"{kind.name} {seed}")
    faults = kind.faults
    if kind.is_campaign:
        faults = tuple(dice.choice(kind.faults) for _ in range(dice.randint(1, 2)))
    # Four seeds in a row have each durability on each topology.
    durable = durability or kind.durabilities[seed % len(kind.durabilities)]
    chosen = topology or kind.topologies[seed // 2 % len(kind.topologies)]
    return Plan(seed, kind, chosen, durable, faults, dice.randint(4, 8), dice.uniform(0.1, 0.4))


def _kinds() -> dict[str, Kind]:
    sentinel, shards, one = ("sentinel", "sentinel-2"), ("cluster",), ("standalone",)
    s, c, a = faults_sentinel, faults_cluster, faults_standalone
    busy_sentinel = (
        Fault("kill", s.kill),
        Fault("hang", s.hang, has_two_masters=True),
        Fault("planned", s.planned, has_two_masters=True, strays=True),
        Fault("back", s.back, has_two_masters=True, strays=True),
        Fault("coordinated", s.coordinated, is_orderly=True),
        Fault("coordinated back", s.coordinated_back, is_orderly=True),
        Fault("lossy busy", s.lossy_busy),
    )
    busy_cluster = (
        Fault("kill", c.kill),
        Fault("hang 8 s", c.hang, has_two_masters=True),
        Fault("hang", c.hang_until_replaced, has_two_masters=True),
        Fault("planned", c.planned, is_orderly=True),
        Fault("back", c.back, is_orderly=True),
        Fault("migrate", c.migrate, is_orderly=True),
        Fault("lossy busy", c.lossy_busy),
    )
    busy_one = (Fault("restart", a.restart, is_orderly=True), Fault("truncate", a.truncate))
    kinds = []
    for prefix, topologies, busy in (
        ("sentinel", sentinel, busy_sentinel),
        ("cluster", shards, busy_cluster),
        ("standalone", one, busy_one),
    ):
        durabilities = DURABILITIES[:1] if prefix == "standalone" else DURABILITIES
        kinds += [
            Kind(f"{prefix}-{fault.name.replace(' ', '-')}", topologies, (fault,), durabilities)
            for fault in busy
        ]
        kinds.append(Kind(f"{prefix}-mixed", topologies, busy, durabilities, is_campaign=True))
    # One gateway is more patient than the hang: its calls, and its ear, wait in the old master
    # until that wakes. The other one writes to the new master meanwhile.
    wakes = (Fault("hang 8 s", c.hang, has_two_masters=True),)
    for name, topologies in (("sentinel-wakes", sentinel), ("cluster-wakes", shards)):
        kinds.append(Kind(name, topologies, wakes, patience_s=(12, 1)))
    parted = (Fault("split", s.split, has_two_masters=True),)
    kinds.append(Kind("sentinel-split", ("split",), parted, ground=parted_ground))
    kinds.append(Kind("sentinel-lossy", sentinel, (Fault("lossy", s.lossy),), is_busy=False))
    kinds.append(Kind("cluster-lossy", shards, (Fault("lossy", c.lossy),), is_busy=False))
    return {kind.name: kind for kind in kinds}


KINDS = _kinds()
