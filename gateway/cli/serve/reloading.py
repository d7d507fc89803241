"""`gateway serve --dev --reload`: a new replica whenever the code of agents or handlers changes.

The supervisor owns the port and the embedded server, so both stay. The new replica starts beside
the old one and replaces it once it is listening; if it cannot be loaded, the old one keeps serving.
"""

from __future__ import annotations

import asyncio
import os
import site
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from gateway.cli.serve.supervisor import Supervisor
from gateway.transport.server.supervised import STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.cli.serve.orders import Orders
    from gateway.cli.serve.replica_process import ReplicaProcess
    from gateway.settings import Settings

LOOK_S = 0.3  # between looks at the files: about as long as nobody notices
DRAIN_S = 2.0  # clients are told to come back at once; who does not go in this time is cut
_log = structlog.get_logger(__name__)

State = dict[Path, tuple[int, int]]


class Sources:
    """The Python files that agents and handlers come from.

    Of a module in a package, all of the package; of a module by itself, the files beside it too,
    unless they are other people's (site-packages).
    """

    def __init__(self, modules: Iterable[str]) -> None:
        self._patterns = [found for module in modules if (found := _pattern_of(module))]
        self._seen = self._look()

    async def changed(self) -> list[str]:
        """Wait until files have changed and rest for a moment; returns their names."""
        while True:
            before = self._seen
            while (now := self._look()) == before:  # noqa: ASYNC110  # files tell of no event
                await asyncio.sleep(LOOK_S)
            while now != self._seen:
                self._seen = now
                await asyncio.sleep(LOOK_S)
                now = self._look()
            names = {path for path, _ in before.items() ^ now.items()}
            if names:
                return sorted(path.name for path in names)

    def _look(self) -> State:
        found: State = {}
        for folder, pattern in self._patterns:
            for path in folder.glob(pattern):
                try:
                    stat = path.stat()
                except OSError:  # gone meanwhile
                    continue
                found[path] = (stat.st_mtime_ns, stat.st_size)
        return found


def modules_of(settings: Settings) -> list[str]:
    """The modules that the settings name."""
    agents = [entry.partition("=")[2].partition(":")[0].strip() for entry in settings.agents]
    return [*filter(None, agents), *settings.handlers]


def _pattern_of(module: str) -> tuple[Path, str] | None:
    """A folder and what to look at in it; None for a module that has no file."""
    try:
        spec = find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    if spec.submodule_search_locations:
        return origin.parent, "**/*.py"
    is_installed = str(origin.parent) in {*site.getsitepackages(), site.getusersitepackages()}
    return origin.parent, origin.name if is_installed else "*.py"


class ReloadingSupervisor(Supervisor):
    """Keeps one replica as a supervisor does, and replaces it when its code changes."""

    def __init__(
        self,
        settings: Settings,
        *,
        has_worker: bool,
        on_listening: Callable[[str, int], None],
    ) -> None:
        """Prepare, as `Supervisor` does."""
        quick = msgspec.structs.replace(
            settings,
            workers=1,
            drain_window_s=0.0,
            drain_timeout_s=min(DRAIN_S, settings.drain_timeout_s),
        )
        super().__init__(quick, has_worker=has_worker, on_listening=on_listening)
        self._modules = modules_of(settings)
        self._sources = Sources(self._modules)  # as they are before a replica loads them
        # What was compiled counts as current for as long as a file's second and size are the same.
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

    async def _keep(self, replica: ReplicaProcess, orders: Orders) -> None:
        """Replace the replica when its code changes, and as a supervisor does when it dies."""
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping.is_set():
                keeping = tasks.create_task(super()._keep(replica, orders), name="replica-kept")
                changed = await self._unless_stopping(self._sources.changed)
                if changed is None:
                    return
                keeping.cancel()
                _log.info("reloading", files=changed)
                replica = await self._reloaded(replica, orders)

    async def _reloaded(self, old: ReplicaProcess, orders: Orders) -> ReplicaProcess:
        """Start another; return the one that serves from now on."""
        self._sources = Sources(self._modules)
        fresh = await self._start(orders)
        if not await fresh.listening():
            await fresh.ended()
            self._replicas.discard(fresh)
            if not self._stopping.is_set():
                _log.error(
                    "reload_failed", problem="the new code cannot be loaded; the old one stays"
                )
            return next(iter(self._replicas), old)
        for replica in self._replicas - {fresh}:  # the old one, or what was put in its place
            replica.tell(STOP)
            await replica.ended()
            self._replicas.discard(replica)
        _log.info("reloaded", pid=fresh.pid)
        return fresh
