"""What a supervisor tells a replica at its start."""

from __future__ import annotations

import msgspec

from gateway.settings import Settings  # noqa: TC001  # of a field that is decoded


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica is told. `settings.port` is where it listens, never 0."""

    settings: Settings
    has_worker: bool
    listeners: tuple[int, ...]  # descriptors of sockets to accept from; none: it binds its own
