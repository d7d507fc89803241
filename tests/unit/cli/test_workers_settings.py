"""Settings of `gateway serve --workers N`: what is refused, and what the replicas are given."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.cli.serve.orders import Orders
from gateway.settings import load_settings
from tests.support.supervised import refused


def test_settings_reach_a_replica_exactly():
    """Also those whose text would be read in another way."""
    settings = load_settings(
        {},
        jwt_public_key="-----BEGIN PUBLIC KEY-----\nof two, lines\n-----END PUBLIC KEY-----\n",
        allowed_origins=["https://a.example", "null"],
        heartbeat_s=0.1 + 0.2,
        agents=["a=b:c"],
        data_dir="~/a, folder",
    )
    orders = Orders(settings=settings, has_worker=False, listeners=(3,))
    assert msgspec.json.decode(msgspec.json.encode(orders), type=Orders) == orders


@pytest.mark.parametrize("count", ["0", "-1"])
def test_less_than_one_is_refused(count):
    """By name, as any setting."""
    result = refused("--workers", count)
    assert result.returncode == 2
    assert result.stderr == "gateway: GATEWAY_WORKERS: Expected `int` >= 1\n"


async def test_what_is_wrong_with_a_setting_is_said_once(redis_server):
    """A replica finds it: the first, which starts alone."""
    result = await asyncio.to_thread(
        refused,
        *("--workers", "3", "--port", "0", "--redis-url", redis_server.url),
        GATEWAY_HANDLERS="no_such_module",
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("gateway: GATEWAY_HANDLERS: ") == 1
    assert "Traceback" not in result.stderr
