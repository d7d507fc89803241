"""Where a run is, and as whom the gateway works on it."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.identity.caller import Caller

SYSTEM = ""  # the subject of what the gateway does by itself


@dataclass(frozen=True, slots=True)
class RunName:
    """Where a run is: its tenant, its conversation, and its id."""

    tenant: str
    conversation_id: str
    run_id: str

    @property
    def caller(self) -> Caller:
        """As whom the gateway works on it."""
        return Caller(self.tenant, SYSTEM)
