"""A message that is sent again is acknowledged as durably as one that is new."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.redis_servers import sentinels

if TYPE_CHECKING:
    from tests.conftest import InProcess
    from tests.support.dialling import Dialler


@pytest.mark.timeout(120)
async def test_a_repeat_waits_for_the_replica_too(in_process: InProcess, dial: Dialler) -> None:
    """The replica has not got it: neither the message nor its repeat over a new link is accepted.

    WAIT asks for the writes of its own link (`WAIT`, valkey.io): a repeat that writes nothing, on a
    link that wrote nothing, is answered at once, whatever the replica has.
    """
    async with sentinels() as group:
        settings = {"redis_url": group.url, "durability": "replicated", "redis_timeout_s": 1}
        first, second = await in_process(**settings), await in_process(**settings)
        alice = await dial(first)
        conversation = await alice.create()
        (replica,) = [node for node in group.nodes if node is not await group.master()]
        sent = {"conversation_id": conversation, "client_message_id": "m1", "content": "hello"}
        replica.pause()
        try:
            refused = await alice.refusal("send_message", agent=None, **sent)
            again = await (await dial(second)).refusal("send_message", agent=None, **sent)
        finally:
            replica.resume()
        assert {refused["code"], again["code"]} <= {"timeout", "unavailable"}
        accepted = await (await dial(second)).request("send_message", agent=None, **sent)
        assert (accepted["duplicate"], accepted["durability"]) == (True, "replicated")
