"""Embedded servers of a test: in this process, watched or not, and in a process to be killed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.store.embedded.server import EmbeddedServer
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OWNER = """
import asyncio, sys
from pathlib import Path
import structlog
from gateway.store.embedded.server import EmbeddedServer

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    server = EmbeddedServer(Path(sys.argv[1]))
    url = await server.ensure()
    print(url, server.is_owner, flush=True)
    await server.watch()

asyncio.run(main())
"""


@asynccontextmanager
async def ensured(folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that answers, not watched; stopped at the end if it is ours."""
    server = EmbeddedServer(folder)
    try:
        await server.ensure()
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[EmbeddedServer]:
    """A server that answers, and is watched."""
    async with ensured(folder) as server, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(server.watch(), name="watch")
        try:
            yield server
        finally:
            watch.cancel()


@asynccontextmanager
async def owner_process(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that ensures and watches the server of a folder, as a gateway does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def first_line(process: asyncio.subprocess.Process) -> str:
    """What an owner process says when it has a server: its URL, and if it is the owner."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one whose adoptive parent has yet to notice its end does not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def call(url: str, *words: str | int) -> object:
    """The reply of one command, on a connection of its own, never retried."""
    no_retry = Retry(NoBackoff(), 0)
    async with redis.asyncio.from_url(
        url, retry=no_retry, socket_timeout=5, decode_responses=True
    ) as client:
        return await client.execute_command(*words)


async def pid_of(url: str) -> int:
    """The pid of the server that answers now."""
    return (await call(url, "INFO", "server"))["process_id"]


async def new_pid(url: str, *, after: int) -> int:
    """The pid of another server than `after`, as soon as one answers."""

    async def look() -> int:
        with suppress(redis.exceptions.ConnectionError):
            pid = await pid_of(url)
            return pid if pid != after else 0
        return 0

    return await eventually(look, what="another server answers")
