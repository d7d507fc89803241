"""What a workload runs on: a system that was just started, on an empty Redis, on its own core."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.generator.usage import Meter
from benchmarks.systems.base import Deployment
from benchmarks.systems.processes import pinned
from benchmarks.systems.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.systems.base import System
    from benchmarks.workloads.entry import Entry


@dataclass(frozen=True, slots=True)
class Placement:
    """Which cores serve, which one generates the load, and which one has the Redis."""

    server: tuple[int, ...]
    generator: tuple[int, ...]
    redis: tuple[int, ...]

    @property
    def is_shared(self) -> bool:
        """Whether Redis and the generator have one core."""
        return self.generator == self.redis

    @classmethod
    def of_machine(cls, workers: int = 1) -> Placement:
        """The first cores serve. Redis has one of its own if there are enough, else the last."""
        cores = sorted(os.sched_getaffinity(0))
        generator = (cores[-1],)
        has_room = len(cores) >= workers + 2
        return cls(tuple(cores[:workers]), generator, (cores[-2],) if has_room else generator)


@dataclass(frozen=True, slots=True)
class Stage:
    """A running system and its Redis."""

    system: System
    redis: RedisServer

    def meter(self) -> Meter:
        """Measure CPU shares from now on."""
        return Meter(self.system.pids, self.redis.pids)


@contextlib.contextmanager
def staged(entry: Entry, *, replicas: int = 1) -> Iterator[Stage]:
    """Start a system; yield with this process pinned to the generator's core."""
    place = Placement.of_machine(entry.workers)
    folder = tempfile.mkdtemp(prefix="bench-")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        redis = RedisServer(Path(folder), cores=place.redis)
        stack.callback(redis.stop)
        stack.callback(entry.system.stop)
        entry.system.start(
            Deployment(
                redis.address,
                place.server,
                replicas=replicas,
                workers=entry.workers,
                with_auth=entry.with_auth,
                folder=folder,
            )
        )
        stack.enter_context(pinned(place.generator))
        yield Stage(entry.system, redis)
