"""What is told of a conversation: who takes part, who is invited, a line of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from gateway.store.calls import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.protocol.json_text import JsonText
    from gateway.protocol.messages import History, Position, Role, Visibility
    from gateway.store.redis.link import Reply

SUMMARY_BYTES: Final = 300  # of a line of a list, besides title and metadata


@dataclass(frozen=True, slots=True)
class Member:
    """A participant as stored; whether they are online is the sessions' to tell."""

    subject: str
    role: Role
    joined_at: float
    is_added: bool = False  # by others, and has not come yet


@dataclass(frozen=True, slots=True)
class Invited:
    """Who was invited by name and has not answered."""

    subject: str
    role: Role
    invited_at: float
    invited_by: str


@dataclass(frozen=True, slots=True)
class Description:
    """Who and what a conversation is, at one position."""

    caller: str  # who asked
    conversation_id: str
    position: Position
    title: str | None
    created_at: float
    visibility: Visibility
    metadata: JsonText
    role: Role  # the caller's own
    members: list[Member]
    active_run: JsonText | None
    invited: list[Invited]  # for owners
    history: History = "all"

    @property
    def others_seen(self) -> list[str]:
        """Subjects of whom the caller is told whether they are online: themselves, if no others."""
        present = [member.subject for member in self.members if not member.is_added]
        return present if self.caller in present else [self.caller]

    def knows(self, subject: str) -> bool:
        """Whether a subject takes part, or is invited by name; only owners are told the latter."""
        members = any(member.subject == subject for member in self.members)
        return members or any(one.subject == subject for one in self.invited)


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of a subject's list: `role` is their own, or the one they are invited to take."""

    conversation_id: str
    title: str | None
    created_at: float
    visibility: Visibility
    role: Role
    position: Position
    metadata: JsonText
    invited_by: str | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes to send, about."""
        return SUMMARY_BYTES + len(self.metadata.data) + 4 * len(self.title or "")


def members_of(flat: Sequence[Reply]) -> list[Member]:
    """Members, as the scripts return them; by when they joined."""
    found = []
    for subject, value in zip(flat[::2], flat[1::2], strict=True):
        role, joined_ms, *rest = text(value).split(":")
        is_added = "added" in rest
        found.append(Member(text(subject), cast("Role", role), int(joined_ms) / 1000, is_added))
    return sorted(found, key=lambda member: (member.joined_at, member.subject))


def invited_of(flat: Sequence[Reply]) -> list[Invited]:
    """The invited, as the scripts return them; by when."""
    found = []
    for subject, value in zip(flat[::2], flat[1::2], strict=True):
        role, at_ms, by = text(value).split(":", 2)
        found.append(Invited(text(subject), cast("Role", role), int(at_ms) / 1000, by))
    return sorted(found, key=lambda one: (one.invited_at, one.subject))
