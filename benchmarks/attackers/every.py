"""All attackers, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.attackers.bombs import DeepBomb, PatchBomb, SchemaBomb, WideBomb
from benchmarks.attackers.frames import (
    EmptyContinuations,
    EmptyMessages,
    EmptyPings,
    Fragments,
    LargestFrames,
)
from benchmarks.attackers.requests import (
    Listing,
    MixedFlood,
    NeverReads,
    Paging,
    RequestFlood,
    Searching,
)
from benchmarks.attackers.rooms import RoomBursts, RunFlood
from benchmarks.attackers.sockets import (
    HalfOpenHandshakes,
    ManySockets,
    PipelinedGets,
    Readiness,
    ReconnectStorm,
)

if TYPE_CHECKING:
    from benchmarks.attackers.attacker import Attacker

EVERY: tuple[type[Attacker], ...] = (
    RequestFlood,
    MixedFlood,
    DeepBomb,
    WideBomb,
    PatchBomb,
    SchemaBomb,
    EmptyPings,
    EmptyMessages,
    EmptyContinuations,
    Fragments,
    LargestFrames,
    RoomBursts,
    RunFlood,
    Paging,
    Searching,
    Listing,
    NeverReads,
    HalfOpenHandshakes,
    ManySockets,
    ReconnectStorm,
    PipelinedGets,
    Readiness,
)
ATTACKERS: dict[str, type[Attacker]] = {one.name: one for one in EVERY}
