"""What requests cost, in messages sent: the one table that rate limits count by. No I/O.

A message is some 25 microseconds of a core, the gateway's and Redis's together; what is not in the
table costs about as much. What a request returned is charged afterwards, since it is not known
before: see `GATEWAY_REQUEST_BYTES` and `Conversing.charge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.protocol.messages import (
    AddParticipant,
    Connect,
    CreateConversation,
    DeleteMessage,
    EditMessage,
    RefreshToken,
    RemoveParticipant,
    RespondToInterrupt,
    RollbackAgentContext,
    SearchMessages,
    SendMessage,
    UpdateAgentContext,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

LINES_A_REQUEST: Final = 2  # lines of a list that cost as much as a message: a script each
SUBJECTS_A_REQUEST: Final = 20  # of whom it is looked up whether they are online


class Weight(msgspec.Struct, frozen=True):
    """`base` for the request, and `each` for every item of its field `of`."""

    base: float = 1.0
    each: float = 0.0
    of: str = ""

    def total(self, request: object) -> float:
        """What one request costs."""
        return self.base + self.each * len(getattr(request, self.of)) if self.of else self.base


WEIGHTS: Final[Mapping[type[object], Weight]] = {
    Connect: Weight(each=0.5, of="cursors"),  # two scripts each
    RefreshToken: Weight(2),
    CreateConversation: Weight(each=0.5, of="participants"),
    AddParticipant: Weight(4),
    RemoveParticipant: Weight(3),
    SearchMessages: Weight(20),  # and what it reads (handlers/messages.py)
    EditMessage: Weight(2),
    DeleteMessage: Weight(2),
    UpdateAgentContext: Weight(3),
    RollbackAgentContext: Weight(3),
}


# What is kept of a client's frames: refused to a subject that has sent too many bytes lately.
STORING: Final = frozenset(
    {
        CreateConversation,
        EditMessage,
        RespondToInterrupt,
        SendMessage,
        UpdateAgentContext,
    }
)


def weight_of(request: object) -> float:
    """What a request costs before anything is known of its answer; 1 if it is not in the table."""
    weight = WEIGHTS.get(type(request))
    return 1.0 if weight is None else weight.total(request)
