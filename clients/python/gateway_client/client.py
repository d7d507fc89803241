"""The client: a session that is whole again after every drop."""

from __future__ import annotations

import asyncio
import logging
import uuid
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import UNSET, UnsetType

from gateway_client import replies, requests
from gateway_client.clock import now
from gateway_client.codec import Codec
from gateway_client.connector import Connector
from gateway_client.conversation import Conversation
from gateway_client.dialler import Dialler
from gateway_client.errors import (
    BadFrame,
    ClientClosed,
    Conflict,
    NotConnected,
    NotFound,
    ReplyTimeout,
    RequestInterrupted,
)
from gateway_client.events import EventStream
from gateway_client.saved import SavedState
from gateway_client.session import Options, Session
from gateway_client.tokens import TokenSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from gateway_client.codec import CodecName
    from gateway_client.messages import Content, Cursor, Notice
    from gateway_client.pending import Done
    from gateway_client.status import State, Status
    from gateway_client.tokens import TokenCallback

R = TypeVar("R")
VERSION = "0.1.0"
JOIN_ATTEMPTS = 3
_log = logging.getLogger("gateway_client")
