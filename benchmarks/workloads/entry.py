"""Who takes part: a system, as it is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.systems.base import System


@dataclass(frozen=True, slots=True)
class Entry:
    """A system with the options that make a difference."""

    system: System
    with_auth: bool = False
    workers: int = 1

    @property
    def most_rounds(self) -> int:
        """No more rounds than this: where it is measured to show a tendency, two."""
        return self.system.most_rounds if self.workers == 1 else 2

    @property
    def name(self) -> str:
        """As it stands in tables and results."""
        words = [self.system.name]
        if self.with_auth and not self.system.always_authenticates:
            words.append("authenticated")
        if self.workers > 1:
            words.append(f"{self.workers} workers")
        return ", ".join(words)

    def with_and_without_auth(self, *, has_variants: bool) -> list[Entry]:
        """This one, and this one authenticated, as far as the system has it."""
        with_auth = replace(self, with_auth=True)
        if self.system.always_authenticates:
            return [with_auth]
        if not self.system.can_authenticate:
            return [self]
        return [self, with_auth] if has_variants else [with_auth]
