"""No secret is in a log record of the client, however the application configures logging."""

from __future__ import annotations

import contextlib
import logging
import logging.config
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway_client import AccessRefused, GatewayClient, NotConnected, State
from tests.client.clients import client_of
from tests.support.dialling import ws_url
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.tokens import forged, mint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import OwnGateway, Replicas

LOGGERS = ["gateway_client", "gateway_client.websocket", "websockets", "websockets.client"]


class Records(logging.Handler):
    """Keeps every record, and all that can be read in it."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, the arguments, the traceback and what was added to the record."""
        self.texts.append(self.format(record))
        self.texts += [repr(value) for value in vars(record).values()]
        self.texts += [str(getattr(value, "request", "")) for value in vars(record).values()]

    def hold(self, *secrets: str | None) -> bool:
        """Whether any text has a secret, or the signature or the claims of a token."""
        parts = [part for secret in secrets for part in (secret or "").split(".") if len(part) > 20]
        return any(part in text for part in parts for text in self.texts)


@pytest.fixture
def records() -> Iterator[Records]:
    """All records, of every logger at DEBUG, configured after the import."""
    handler = Records()
    names = ["", "asyncio", *LOGGERS]
    before = {name: logging.getLogger(name).level for name in names}
    levels: dict[str, Any] = {name: {"level": "DEBUG", "propagate": True} for name in LOGGERS}
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "incremental": True, "loggers": levels}
    )
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(handler)
    logging.getLogger("gateway_client.websocket").debug("of the test itself")
    assert handler.texts
    yield handler
    logging.getLogger().removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


async def test_token_is_in_no_record_of_a_session(
    own_gateway: OwnGateway, tenant: str, records: Records
) -> None:
    """Opened, renewed in band, cut, resumed, closed: header, `refresh_token`, resume token."""
    gateway = await own_gateway(token_warning_s=60)
    given = [mint("alice", tenant=tenant, ttl_s=ttl_s) for ttl_s in (30, 3600)]
    asked: list[str] = []

    async def token() -> str:
        asked.append(given[len(asked)])
        return asked[-1]

    async with Proxy(gateway.port) as road, client_of(road, tenant, token=token) as client:
        await eventually(lambda: len(asked) == 2, what="the token is renewed")
        await client.join("c", create=True)
        await road.cut()
        await eventually(lambda: road.dialled == 2 and client.state is State.LIVE, what="resumed")
        resume_token = msgspec.json.decode(client.export_state())["resume_token"]
    assert not records.hold(*given, resume_token)


@pytest.mark.parametrize("parameter", ["token", "ticket"])
async def test_credential_of_the_url_is_in_no_record(
    replicas: Replicas, tenant: str, records: Records, parameter: str
) -> None:
    """Neither when it is good nor when it is refused."""
    secret = mint("alice", tenant=tenant)
    url = ws_url(replicas[0], **{parameter: secret})
    refused = pytest.raises(AccessRefused) if parameter == "ticket" else contextlib.nullcontext()
    with refused:  # it is no ticket
        async with GatewayClient(url):
            pass
    assert not records.hold(secret)


async def test_token_is_in_no_record_of_a_failure(
    replicas: Replicas, tenant: str, records: Records
) -> None:
    """Refused, not reachable, or a callback of the application that raises."""
    secrets = [forged("alice", tenant=tenant), mint("alice", tenant=tenant)]
    with pytest.raises(AccessRefused):
        async with client_of(replicas[0], tenant, token=secrets[0]):
            pass

    class Nowhere:
        port = 1

    with pytest.raises(NotConnected):
        async with client_of(Nowhere(), tenant, token=secrets[1], open_timeout_s=0.2):
            pass
    assert not records.hold(*secrets)


async def test_logger_of_the_application_gets_no_token(
    replicas: Replicas, tenant: str, records: Records
) -> None:
    """One that is passed to websockets is given what is above DEBUG."""
    secret = mint("alice", tenant=tenant)
    mine = logging.getLogger("websockets.client")
    async with client_of(
        replicas[0], tenant, token=secret, websocket_options={"logger": mine}
    ) as client:
        await client.ping()
    assert not records.hold(secret)
