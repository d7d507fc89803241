"""What outlives the program: the session, where it stands, and what was said and not acknowledged.

It holds the resume token and the text of messages: keep it where only the user can read it.
"""

from __future__ import annotations

import msgspec

from gateway_client.protocol.messages import Cursor  # noqa: TC001 -- msgspec reads the annotations
from gateway_client.protocol.requests import SendMessage  # noqa: TC001 -- the same

VERSION = 1


class SavedState(msgspec.Struct, frozen=True, kw_only=True):
    """A session to go on with. `cursors` are as of the last event handed to the application.

    `connects`: the number of the last attempt to connect.
    """

    version: int = VERSION
    session_id: str | None = None
    resume_token: str | None = None
    connects: int = 0
    cursors: dict[str, Cursor] = {}
    outbox: list[SendMessage] = []

    def to_bytes(self) -> bytes:
        """Encode as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> SavedState:
        """Decode what `to_bytes` made.

        Raises:
            ValueError: It is something else, or of another version.
        """
        state = msgspec.json.decode(data, type=cls)  # its errors are ValueErrors
        if state.version != VERSION:
            problem = f"saved state has version {state.version}, this client reads {VERSION}"
            raise ValueError(problem)
        return state
