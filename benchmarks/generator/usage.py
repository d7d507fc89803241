"""What processes use, and what the machine is denied: CPU time and memory, from /proc (proc(5))."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STEAL = 8  # the field of /proc/stat's first line; the name is 0


def cpu_s(pids: Iterable[int]) -> float:
    """CPU time that these processes have used, all threads, in s; the resolution is 10 ms."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def stolen_s(machine: str | None = None) -> float:
    """CPU time that was wanted here and that the host of a virtual machine gave to others, in s.

    Of all cores since the machine's start; 0.0 where the kernel does not tell it.

    Args:
        machine: what /proc/stat says; read if not given.
    """
    told = Path("/proc/stat").read_text() if machine is None else machine
    fields = told.partition("\n")[0].split()
    return int(fields[_STEAL]) / _TICKS_PER_S if len(fields) > _STEAL else 0.0


def rss_bytes(pids: Iterable[int]) -> int:
    """Resident memory of these processes."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * 1024
    return total


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of a core each side used, 1.0 is all of one.

    Attributes:
        stolen: what none of them got, of all cores together, since the host gave it to others.
    """

    server: float
    redis: float
    generator: float
    stolen: float

    def numbers(self) -> dict[str, float]:
        """As they stand in a result."""
        return {
            "server_cpu": self.server,
            "redis_cpu": self.redis,
            "generator_cpu": self.generator,
            "stolen_cpu": self.stolen,
        }


class Meter:
    """CPU shares since it was made."""

    def __init__(self, server: Sequence[int], redis: Sequence[int]) -> None:
        self._server, self._redis = server, redis
        self._began = time.monotonic()
        self._before = self._read()

    def shares(self) -> Shares:
        """Of the time until now."""
        passed = max(time.monotonic() - self._began, 1e-9)
        used = (now - then for now, then in zip(self._read(), self._before, strict=True))
        return Shares(*(round(one / passed, 3) for one in used))

    def _read(self) -> tuple[float, ...]:
        return cpu_s(self._server), cpu_s(self._redis), time.process_time(), stolen_s()
