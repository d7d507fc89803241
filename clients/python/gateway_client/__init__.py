"""The Python client of session-gateway: a session that is complete again after every drop.

    from gateway_client import Event, GatewayClient

    async with GatewayClient("ws://127.0.0.1:8000/ws", token=token) as client:
        conversation = await client.join("c_42", create=True)
        await conversation.send("hello")
        async for item in client.events():
            match item:
                case Event(type="MESSAGE_CREATED", data={"message": message}):
                    print(message["content"])

It knows the gateway only by its protocol. `protocol/` is the wire; `session/` is the whole client
without I/O; `link/` connects it to sockets; `client` and `conversation` are what an application
uses.
"""

from __future__ import annotations

from gateway_client.client import GatewayClient
from gateway_client.conversation import Conversation
from gateway_client.errors import (
    AccessRefused,
    BadFrame,
    BadRequest,
    ClientClosed,
    Conflict,
    Forbidden,
    FrameTooLarge,
    GatewayClientError,
    Gone,
    LinkError,
    NotConnected,
    NotFound,
    OutboxFull,
    RateLimited,
    ReplyTimeout,
    RequestError,
    RequestFailed,
    RequestInterrupted,
    RunActive,
    SessionReplaced,
    SignInRequired,
    TokenExpired,
    TooLarge,
    Unavailable,
    VersionConflict,
)
from gateway_client.lifecycle import __version__
from gateway_client.protocol.messages import (
    ActiveRun,
    AgentContext,
    Cursor,
    CustomPush,
    Detached,
    EpochChanged,
    Event,
    Interrupt,
    Item,
    Live,
    Message,
    Notice,
    Presence,
    SessionWarning,
    Snapshot,
    Typing,
    UnreadableEvent,
)
from gateway_client.protocol.replies import ConversationInfo, History, MessageAccepted
from gateway_client.session.session import Options
from gateway_client.session.status import State, Status

__all__ = [
    "AccessRefused",
    "ActiveRun",
    "AgentContext",
    "BadFrame",
    "BadRequest",
    "ClientClosed",
    "Conflict",
    "Conversation",
    "ConversationInfo",
    "Cursor",
    "CustomPush",
    "Detached",
    "EpochChanged",
    "Event",
    "Forbidden",
    "FrameTooLarge",
    "GatewayClient",
    "GatewayClientError",
    "Gone",
    "History",
    "Interrupt",
    "Item",
    "LinkError",
    "Live",
    "Message",
    "MessageAccepted",
    "NotConnected",
    "NotFound",
    "Notice",
    "Options",
    "OutboxFull",
    "Presence",
    "RateLimited",
    "ReplyTimeout",
    "RequestError",
    "RequestFailed",
    "RequestInterrupted",
    "RunActive",
    "SessionReplaced",
    "SessionWarning",
    "SignInRequired",
    "Snapshot",
    "State",
    "Status",
    "TokenExpired",
    "TooLarge",
    "Typing",
    "Unavailable",
    "UnreadableEvent",
    "VersionConflict",
    "__version__",
]
