"""The workers of one machine: each knows at once when another has died, and ends its leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.errors import GatewayError
from gateway.runs.worker_mark import WorkerMark, marks_folder, marks_of_the_dead
from gateway.store.keys import SHARDS
from gateway.tasks import together

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from gateway.settings import Settings
    from gateway.store.store import Store

_log = structlog.get_logger(__name__)


class Neighbours:
    """A worker among those of its machine that use the same Redis: marked while the block runs."""

    def __init__(self, store: Store, settings: Settings, redis_url: str, worker_id: str) -> None:
        self._store = store
        self._redis_url = redis_url
        self._prefix = settings.redis_prefix
        self._worker_id = worker_id
        self._folder: Path | None = None
        self._mark: WorkerMark | None = None

    def __enter__(self) -> Self:
        try:
            self._folder = marks_folder(self._redis_url, self._prefix)
            self._mark = WorkerMark.make(self._folder, self._worker_id)
        except OSError as exc:
            _log.warning("worker_mark_failed", problem=exc.strerror or str(exc))
        return self

    def __exit__(self, *_: object) -> None:
        if self._mark is not None:
            self._mark.remove()

    async def release_dead(self) -> bool:
        """End the leases of those that have died; whether there were any."""
        if self._folder is None:
            return False
        dead = marks_of_the_dead(self._folder)
        if not dead:
            return False
        ids = [mark.worker_id for mark in dead]
        try:
            release = self._store.unserved.release
            ended = await together(release(shard, ids) for shard in range(SHARDS))
        except GatewayError:
            for mark in dead:
                mark.let_go()  # for another try
            return False
        for mark in dead:
            mark.remove()
        _log.warning("workers_died", worker_ids=ids, runs=sum(ended))
        return True
