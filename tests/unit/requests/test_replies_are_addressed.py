"""A reply carries the `id` of its own request, and none if that had none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import InProcess
    from tests.support.dialling import Dialler
    from tests.support.gateways import InProcessGateway
    from tests.support.receiving import Message
    from tests.support.wire import WireClient

# An operator's module: each way to answer or to fail, with one reply that is made once.
ENDS = """
from gateway import handler
from gateway.errors import BadRequest, StoreUnavailable
from gateway.protocol.messages import Pong, Request
from gateway.identity.keys import KeysUnavailable

REPLY = Pong()
ENDS = {
    "away": StoreUnavailable("away"),
    "in doubt": StoreUnavailable("away", may_have_run=True),
    "no keys": KeysUnavailable("away", retry_after_s=1),
    "timeout": TimeoutError(),
    "bug": RuntimeError("a bug"),
    "refused": BadRequest("$.how: no"),
}


class End(Request, tag="end", frozen=True, kw_only=True):
    how: str


@handler(End)
async def end(context, message):
    if message.how in ENDS:
        raise ENDS[message.how]
    return REPLY
"""
WAYS = ["reply", "away", "in doubt", "no keys", "timeout", "bug", "refused"]


@pytest.fixture
async def gateway(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> InProcessGateway:
    """A gateway whose requests end as asked."""
    (tmp_path / "ends_of_requests.py").write_text(ENDS)
    monkeypatch.syspath_prepend(tmp_path)
    return await in_process(handlers=("ends_of_requests",))


async def replies_without_id(client: WireClient, how: str) -> list[Message]:
    """Ask for one end without an id; return what came that answers a request."""
    known = len(client.pushes)
    await client.send({"type": "end", "how": how})
    await client.request("ping")  # answered after it
    return [push for push in client.pushes[known:] if push["type"] in {"error", "pong"}]


@pytest.mark.parametrize("how", WAYS)
async def test_reply_to_a_request_without_an_id_has_no_reply_to(
    gateway: InProcessGateway, dial: Dialler, how: str
) -> None:
    """Also after the same reply was sent to a request with one, on this connection or another."""
    alice, bob = await dial(gateway), await dial(gateway, "bob")

    for request_id in ("first", 2, "third"):
        reply = await alice.answer_to(await alice.start("end", how=how, id=request_id))
        assert reply["reply_to"] == request_id
        for client in (alice, bob):
            (without,) = await replies_without_id(client, how)
            assert "reply_to" not in without
