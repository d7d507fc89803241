"""Faults of a single server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.failover.scenario import Stage


async def restart(stage: Stage) -> None:
    """SIGKILL it and start it again: the kernel has kept its file, nothing is lost."""
    server = await stage.master()
    stage.strike(f"kill {server}")
    server.kill()
    await stage.wait(0.0, 1.0)
    await server.start()
    stage.note(f"{server} is back")


async def truncate(stage: Stage) -> None:
    """SIGKILL it, cut the end of its append-only file, and start it on the rest."""
    server = await stage.master()
    stage.strike(f"kill {server}")
    server.kill()
    (path,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    size = path.stat().st_size
    cut = min(stage.dice.randrange(500, 6_000), size // 4)
    with path.open("r+b") as file:
        file.truncate(size - cut)
    stage.note(f"{cut} of {size} bytes are cut off")
    await stage.wait(0.0, 1.0)
    await server.start()
    stage.note(f"{server} is back")
