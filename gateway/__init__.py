"""A realtime gateway that holds a session through anything.

What is named here is what handlers build on; everything else may change without notice.
"""

from gateway import errors, messages
from gateway.answers import check_answer
from gateway.concurrently import together
from gateway.context import Context
from gateway.dispatch import handler
from gateway.hub import whisper
from gateway.ids import is_reserved, random_id
from gateway.invitations import tell_invited
from gateway.json_text import JsonText, exceeds
from gateway.listing import listed, listed_for_others
from gateway.messages import Position, Reply, Request
from gateway.patching import apply_patch
from gateway.patching_aside import apply_patch_aside
from gateway.roles import RIGHTS
from gateway.snapshots import agent_context, newest_that_fit, oldest_that_fit
from gateway.store.calls import Caller
from gateway.store.contexts import ContextChange
from gateway.store.conversations import CANNOT_BE_HAD
from gateway.store.descriptions import Description, Invited, Member, Summary
from gateway.store.interrupts import Answer
from gateway.store.invites import invite_conversation
from gateway.store.messages import Accepted, Draft
from gateway.store.runs import RunInput, RunRequest
from gateway.weights import LINES_A_REQUEST, SUBJECTS_A_REQUEST

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
