"""Finds out what is there in the end, as fresh clients of the gateways are told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.failover.member import CUT_OFF, Member
from tests.failover.stream import Stream, Surviving, name_of
from tests.support.eventually import eventually
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.failover.topologies import Ground

Message = dict[str, Any]
NO_CURSOR = {"epoch": "", "offset": 0}
QUIET_S = 60.0  # for Redis to take calls again
FAILED = (RefusedRequest, *CUT_OFF)


class Survey:
    """Looks at a conversation through the gateways of a ground."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def create(self, *, participants: list[str]) -> tuple[str, Message]:
        """Create the conversation; return its id and the position everybody begins at."""
        owner = self._member("owner", room="")
        try:
            client = await owner.connect()
            told = await client.request("create_conversation", participants=participants)
            return told["conversation_id"], told["position"]
        finally:
            await owner.close()

    async def is_idle(self, room: str) -> bool:
        """Whether no run is going on."""
        member = self._member("state", room=room)
        try:
            client = await member.connect()
            context = await client.request("get_agent_context", conversation_id=room)
        except FAILED:
            return False
        else:
            return context["active_run"] is None
        finally:
            await member.close()

    async def take(self, room: str, base: Message) -> tuple[Surviving, list[Stream]]:
        """Return what survived, and what two witnesses were told.

        One reads the log from where everybody began, one asks for the whole state.
        """
        return await eventually(
            lambda: self._try_to_take(room, base), what="gateways answer", within_s=QUIET_S
        )

    async def _try_to_take(self, room: str, base: Message) -> tuple[Surviving, list[Stream]] | None:
        log, state = self._member("log", room=room), self._member("state", room=room, at=1)
        log.stream.is_witness = state.stream.is_witness = True
        try:
            await log.open(base)
            await state.open(NO_CURSOR)
            history = await state.client.history(room, limit=200)
            context = await state.client.request("get_agent_context", conversation_id=room)
        except FAILED:
            return None
        finally:
            await log.close()
            await state.close()
        return self._surviving(log.stream, history, context, base), [log.stream, state.stream]

    def _surviving(
        self, log: Stream, history: list[Message], context: Message, base: Message
    ) -> Surviving:
        snapshots = [frame for frame in log.frames if frame["type"] == "snapshot"]
        events = {name_of(f): f["event"] for f in log.frames if f["type"] == "event"}
        return Surviving(
            history,
            context,
            context["position"],
            events,
            is_whole=not snapshots,
            base=name_of(base),
            covered_from=snapshots[-1]["offset"] if snapshots else 0,
        )

    def _member(self, subject: str, *, room: str, at: int = 0) -> Member:
        places = self._ground.places[at:] + self._ground.places[:at]
        return Member(subject, places, tenant="t", room=room)
