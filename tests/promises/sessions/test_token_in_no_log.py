"""A token is in no log line, whichever way it came and whatever became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidHandshake

from tests.support import tokens
from tests.support.dialling import http_url, ws_url

if TYPE_CHECKING:
    from tests.conftest import OwnGateway
    from tests.support.dialling import Dialler


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_credential_is_in_any_log_line(
    own_gateway: OwnGateway, dial: Dialler, log_format: str
) -> None:
    """Query, header, ticket, refused, refreshed, in a bad frame, over HTTP, at level debug."""
    gateway = await own_gateway(log_level="debug", log_format=log_format)
    secrets: list[str] = [tokens.SECRET]

    def secret(text: str) -> str:
        secrets.append(text)
        return text

    alice = await dial(gateway, token=secret(tokens.mint("alice", tenant=dial.tenant)))
    ready = await alice.connect()
    secret(ready["resume_token"])
    await alice.request("refresh_token", token=secret(tokens.mint("alice", tenant=dial.tenant)))
    await alice.refusal("refresh_token", token=secret(tokens.forged("alice")))
    token = secret(tokens.mint("alice"))
    await alice.send_raw(f'{{"type":"refresh_token","token":"{token}"')
    await alice.send_raw(f'{{"type":"refresh_token","token":["{token}"]}}')
    conversation = await alice.create()
    await alice.say(conversation, secret("private words that no log should hold"))
    await alice.vanish()

    header = {"Authorization": f"Bearer {secret(tokens.mint('alice', tenant=dial.tenant))}"}
    await dial.open(ws_url(gateway), headers=header)
    for bad in (tokens.forged("alice"), tokens.mint("alice", ttl_s=-100), "garbage-garbage-1234"):
        await dial.open(ws_url(gateway, token=secret(bad)))
    async with httpx.AsyncClient(trust_env=False) as http:
        made = await http.post(http_url(gateway, "/v1/tickets"), headers=header)
        ticket = secret(made.json()["ticket"])
        for path in ("/v1/tickets", "/healthz", "/nowhere", "/ws"):
            token = secret(tokens.mint("alice", tenant=dial.tenant))
            await http.get(http_url(gateway, f"{path}?token={token}"))
            await http.get(http_url(gateway, f"{path}?x=1&TOKEN={quote(token)}"))
        await http.post(
            http_url(gateway, "/v1/tickets"), headers={"Authorization": secret("Bearer abcdefgh12")}
        )
    await dial.open(ws_url(gateway, ticket=ticket))
    await dial.open(ws_url(gateway, ticket=secret("t_made_up_ticket")))
    too_long = secret(tokens.mint("alice", padding="p" * 20_000))
    with pytest.raises((InvalidHandshake, OSError, EOFError)):
        await dial.open(ws_url(gateway, token=too_long))
    assert await gateway.terminate() == 0

    logs = gateway.logs
    assert "listening on" in logs
    assert logs.count("\n") > 5
    for hidden in secrets:
        text = hidden.removeprefix("Bearer ")
        assert text not in logs, f"in the logs: {text[:40]}…"
        if text.count(".") == 2:
            assert text.split(".")[2] not in logs, "the signature of a token is in the logs"
            assert text.split(".")[1] not in logs, "the claims of a token are in the logs"
