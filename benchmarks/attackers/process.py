"""One attacker, or the victim, as a process.

    python -m benchmarks.attackers.process NAME PORT SECONDS

It prepares, prints `ready`, waits for a line, works for so many seconds, and prints what came of it
as JSON. The victim is called `victim`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict

import uvloop

from benchmarks.attackers.every import ATTACKERS
from benchmarks.attackers.victim import NAME, Victim

NICE = 10  # of attackers: the victim shares their core, and must not wait for them there


async def attack(name: str, port: int, seconds: float) -> dict[str, float]:
    """Attack."""
    attacker = ATTACKERS[name](port)
    await attacker.prepare()
    async with asyncio.TaskGroup() as group:  # it ends this at once if the attacker fails
        running = group.create_task(attacker.run(), name="attacker")
        await attacker.until_ready()
        await _started()
        os.nice(NICE)
        attacker.begin()
        await asyncio.sleep(seconds)
        counts = asdict(attacker.counts)
        running.cancel()
    return counts


async def suffer(port: int, seconds: float) -> dict[str, float]:
    """Be the victim."""
    async with Victim(port) as victim:
        await _started()
        victim.forget()
        await asyncio.sleep(seconds)
        return victim.seen()


async def _started() -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


def main() -> None:
    """Do what the command line says."""
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    work = suffer(port, seconds) if name == NAME else attack(name, port, seconds)
    print(json.dumps(uvloop.run(work)), flush=True)
    os._exit(0)  # what an attacker has open is dropped, not closed


if __name__ == "__main__":
    main()
