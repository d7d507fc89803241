"""The stream of events, as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_client.protocol.messages import Item
    from gateway_client.session.session import Session


class EventStream:
    """Yields every item once, in order; for one consumer.

    Not a generator: when waiting is cancelled, nothing is lost and the iteration can continue. By
    asking for the next item, the application says that it has handled the one before; only then is
    that one acknowledged.

    Args:
        session: Where the items come from.
        on_room: Is called when the inbox has room again, so that there may be more to do.
    """

    def __init__(self, session: Session, *, on_room: Callable[[], None]) -> None:
        self._session = session
        self._on_room = on_room
        self._news = asyncio.Event()
        self._has_ended = False

    def wake(self) -> None:
        """There may be something new."""
        self._news.set()

    def end(self) -> None:
        """The application closes the client: no error is raised for that."""
        self._has_ended = True

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Item:
        """Wait for the next item.

        Raises:
            StopAsyncIteration: The application closed the client.
            ClientClosed: Something else closed it, and all items received have been handed over.
        """
        while True:
            was_full, had_room = self._session.inbox.is_full, self._session.inbox.is_half_empty
            item = self._session.reader.hand_over()
            if item is not None:
                if was_full or self._session.inbox.is_half_empty is not had_room:
                    self._on_room()
                return item
            if self._has_ended:
                raise StopAsyncIteration
            if self._session.error is not None:
                raise self._session.error
            self._news.clear()
            await self._news.wait()
