"""Whatever dialling raises is why the link is down: one line, and the client comes back."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio import client as websockets_client

from gateway_client import GatewayClient, LinkError, NotConnected, State
from tests.client.clients import client_of
from tests.support.eventually import eventually
from tests.support.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Replicas


@pytest.fixture
def proxy_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which a proxy may be named."""
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "socks_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    async def without_the_package(*_: object, **__: object) -> Any:
        raise ImportError("connecting through a SOCKS proxy requires python-socks")

    monkeypatch.setattr(websockets_client, "connect_socks_proxy", without_the_package)
    return monkeypatch


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged; nothing of it may be a traceback."""
    yield caplog
    assert not [record for record in caplog.records if record.exc_info]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def check_one_line(error: Exception | None, *words: str) -> None:
    """See that it is a link error of one line with these words."""
    assert isinstance(error, LinkError)
    assert str(error).count("\n") == 0
    for word in words:
        assert word in str(error)


async def test_socks_proxy_without_its_package_is_a_link_error(
    replicas: Replicas,
    tenant: str,
    proxy_environment: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
):
    """The missing package is named; nothing is logged as a failure."""
    del log
    proxy_environment.setenv("socks_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(NotConnected, match="python-socks") as failure:
        async with client_of(replicas[0], tenant, open_timeout_s=0.5):
            pass
    check_one_line(failure.value.last_error, "python-socks")


async def test_client_comes_back_when_dialling_works_again(
    replicas: Replicas, tenant: str, proxy_environment: pytest.MonkeyPatch
):
    """What raised something unforeseen is tried again as a network failure is."""
    proxy_environment.setenv("socks_proxy", "socks5://127.0.0.1:1")
    async with client_of(replicas[0], tenant, open_timeout_s=None) as client:
        await eventually(lambda: client.last_error is not None, what="a failure")
        assert client.state is State.CONNECTING
        assert "python-socks" in client.status.reason
        proxy_environment.delenv("socks_proxy")
        await eventually(lambda: client.state is State.LIVE, what="live")


@pytest.mark.parametrize("proxy", ["ftp://user:hunter2@127.0.0.1:1", "http://user:hunter2@"])
async def test_bad_proxy_is_a_link_error_without_its_password(
    replicas: Replicas,
    tenant: str,
    proxy_environment: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
    proxy: str,
):
    """`last_error` ends in the application's log."""
    del log, proxy_environment
    with pytest.raises(NotConnected) as failure:
        async with client_of(
            replicas[0], tenant, open_timeout_s=0.5, websocket_options={"proxy": proxy}
        ):
            pass
    check_one_line(failure.value.last_error, "proxy")
    assert "hunter2" not in str(failure.value)


async def test_option_that_nobody_knows_is_a_link_error(
    replicas: Replicas, tenant: str, log: pytest.LogCaptureFixture
):
    """It is asyncio that says so, and not before the connection is made."""
    del log
    with pytest.raises(NotConnected) as failure:
        async with client_of(
            replicas[0], tenant, open_timeout_s=0.5, websocket_options={"no_such_option": 1}
        ):
            pass
    check_one_line(failure.value.last_error, "TypeError", "no_such_option")


@pytest.mark.parametrize(
    "url",
    [
        "http://h/ws?token=hunter2",
        "ws:///ws?token=hunter2",
        "ws://h/ws?token=hunter2#there",
        "ws://h:port/ws?token=hunter2",
    ],
)
def test_url_that_is_none_is_refused_at_once(url: str):
    """Without what may be a token in it."""
    with pytest.raises(ValueError, match=r"\w") as refused:
        GatewayClient(url)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("token", ["töken", "two\nlines"])
def test_token_that_no_header_carries_is_refused_at_once(token: str):
    """A token that is a string will not get better."""
    with pytest.raises(ValueError, match="token") as refused:
        GatewayClient("ws://h/ws", token=token)
    assert token not in repr(refused.value)


def test_options_that_contradict_the_url_are_refused_at_once():
    """`ssl` is for wss://."""
    with pytest.raises(ValueError, match="ssl"):
        GatewayClient("ws://h/ws", websocket_options={"ssl": ssl.create_default_context()})


async def test_headers_of_the_application_do_not_replace_the_token(replicas: Replicas, tenant: str):
    """They come on top of it; an Authorization of its own wins."""
    own = {"X-Trace": "1"}
    async with client_of(replicas[0], tenant, websocket_options={"additional_headers": own}):
        pass
    own = {"Authorization": f"Bearer {mint('bob', tenant=tenant)}"}
    async with client_of(
        replicas[0], tenant, websocket_options={"additional_headers": own}
    ) as client:
        assert client.hello is not None
        assert client.hello.subject == "bob"
