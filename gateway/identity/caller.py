"""Who asks."""

from __future__ import annotations

import msgspec


class Caller(msgspec.Struct, frozen=True):
    """Who asks: nothing is read or written without a tenant and a subject."""

    tenant: str
    subject: str
