"""A realtime gateway whose sessions survive any interruption.

Handlers may rely on the names here; everything else may change without notice. They are imported
on first use, so that `import gateway.settings` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway import errors
    from gateway.fanout.snapshots import agent_context
    from gateway.identity.caller import Caller
    from gateway.protocol import messages
    from gateway.protocol.fitting import newest_that_fit, oldest_that_fit
    from gateway.protocol.ids import is_reserved, random_id
    from gateway.protocol.json_patch import apply_patch
    from gateway.protocol.json_text import JsonText, exceeds
    from gateway.protocol.messages import Position, Reply, Request
    from gateway.protocol.roles import RIGHTS
    from gateway.protocol.weights import LINES_A_REQUEST, SUBJECTS_A_REQUEST
    from gateway.requests.context import Context
    from gateway.requests.invitations import tell_invited
    from gateway.requests.listing import listed, listed_for_others
    from gateway.requests.registry import handler
    from gateway.runs.interrupts import check_answer
    from gateway.runs.patching_aside import apply_patch_aside
    from gateway.store.channel import whisper
    from gateway.store.contexts import ContextChange
    from gateway.store.conversations import CANNOT_BE_HAD
    from gateway.store.descriptions import Description, Invited, Member, Summary
    from gateway.store.interrupts import Answer
    from gateway.store.invites import invite_conversation
    from gateway.store.messages import Accepted, Draft
    from gateway.store.runs import RunInput, RunRequest
    from gateway.tasks import together

__all__ = [
    "CANNOT_BE_HAD",
    "LINES_A_REQUEST",
    "RIGHTS",
    "SUBJECTS_A_REQUEST",
    "Accepted",
    "Answer",
    "Caller",
    "Context",
    "ContextChange",
    "Description",
    "Draft",
    "Invited",
    "JsonText",
    "Member",
    "Position",
    "Reply",
    "Request",
    "RunInput",
    "RunRequest",
    "Summary",
    "agent_context",
    "apply_patch",
    "apply_patch_aside",
    "check_answer",
    "errors",
    "exceeds",
    "handler",
    "invite_conversation",
    "is_reserved",
    "listed",
    "listed_for_others",
    "messages",
    "newest_that_fit",
    "oldest_that_fit",
    "random_id",
    "tell_invited",
    "together",
    "whisper",
]

_PLACES = {
    "gateway.errors": ("errors",),
    "gateway.fanout.snapshots": ("agent_context",),
    "gateway.identity.caller": ("Caller",),
    "gateway.protocol.fitting": ("newest_that_fit", "oldest_that_fit"),
    "gateway.protocol.ids": ("is_reserved", "random_id"),
    "gateway.protocol.json_patch": ("apply_patch",),
    "gateway.protocol.json_text": ("JsonText", "exceeds"),
    "gateway.protocol.messages": ("Position", "Reply", "Request", "messages"),
    "gateway.protocol.roles": ("RIGHTS",),
    "gateway.protocol.weights": ("LINES_A_REQUEST", "SUBJECTS_A_REQUEST"),
    "gateway.requests.context": ("Context",),
    "gateway.requests.invitations": ("tell_invited",),
    "gateway.requests.listing": ("listed", "listed_for_others"),
    "gateway.requests.registry": ("handler",),
    "gateway.runs.interrupts": ("check_answer",),
    "gateway.runs.patching_aside": ("apply_patch_aside",),
    "gateway.store.channel": ("whisper",),
    "gateway.store.contexts": ("ContextChange",),
    "gateway.store.conversations": ("CANNOT_BE_HAD",),
    "gateway.store.descriptions": ("Description", "Invited", "Member", "Summary"),
    "gateway.store.interrupts": ("Answer",),
    "gateway.store.invites": ("invite_conversation",),
    "gateway.store.messages": ("Accepted", "Draft"),
    "gateway.store.runs": ("RunInput", "RunRequest"),
    "gateway.tasks": ("together",),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> object:
    place = _PLACE_OF.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(place)
    found = module if place.rpartition(".")[2] == name else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
