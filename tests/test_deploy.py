"""Facts about the deployment: the compose file as docker-compose reads it, nginx as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tools.check_compose import EXAMPLE_ENVIRONMENT, compose_config, find_compose
from tools.check_nginx import nginx_command, write_config

TOKEN = "the-token-nobody-may-read"
REPLICAS = ("gateway-1", "gateway-2")


@pytest.fixture(scope="module")
def docker_compose():
    """The words that start docker-compose."""
    command = find_compose()
    if command is None:
        pytest.skip("there is no docker-compose on this machine")
    return command


@pytest.fixture(scope="module")
def services(docker_compose):
    """The services, after interpolation."""
    config = compose_config(docker_compose, "--format=json", environment=EXAMPLE_ENVIRONMENT)
    return json.loads(config.stdout)["services"]


def seconds(duration: str) -> float:
    """What compose writes as `1m30s`."""
    parsed = time.strptime(duration, "%Mm%Ss" if "m" in duration else "%Ss")
    return parsed.tm_min * 60 + parsed.tm_sec


def test_compose_runs_two_replicas_behind_nginx_and_checks_all(services):
    """Redis, two gateways and nginx; each has a health check, each waits for what it needs."""
    assert set(services) == {"redis", *REPLICAS, "nginx"}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
    for name in REPLICAS:
        assert services[name]["depends_on"]["redis"]["condition"] == "service_healthy"
        assert services["nginx"]["depends_on"][name]["condition"] == "service_healthy"
        assert "/readyz" in services[name]["healthcheck"]["test"][-1]
        assert "ports" not in services[name]


def test_compose_redis_keeps_what_it_acknowledged(services):
    """It writes an AOF to a volume, and refuses writes when full instead of dropping keys."""
    redis = services["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert [(one["type"], one["target"]) for one in redis["volumes"]] == [("volume", "/data")]
    assert "ports" not in redis


@pytest.mark.parametrize("name", REPLICAS)
def test_compose_gives_a_replica_settings_it_takes_and_time_to_drain(services, name):
    """Every variable is a setting with a good value, and SIGKILL comes after the drain."""
    settings = load_settings(services[name]["environment"])
    assert settings.redis_url == "redis://redis:6379/0"
    drain_s = settings.drain_window_s + settings.drain_timeout_s
    assert seconds(services[name]["stop_grace_period"]) > drain_s


def test_compose_without_a_secret_says_what_to_set(docker_compose):
    """No secret is built in: without one nothing starts, and the message names the variable."""
    refused = compose_config(docker_compose, "--quiet", environment={})
    assert refused.returncode != 0
    assert "GATEWAY_JWT_SECRET is missing a value: set it to 32 bytes" in refused.stderr


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.asynccontextmanager
async def nginx_before(folder, upstreams):
    """Run nginx with the deployed configuration; yield its address and what it writes."""
    port, log_file = free_port(), folder / "log"
    command = nginx_command(
        write_config(folder, port=port, upstreams=upstreams), "-g", "daemon off;"
    )
    if command is None:
        pytest.skip("there is no nginx on this machine")
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:
        await eventually(lambda: accepts(port), what="nginx accepts connections")
        yield f"127.0.0.1:{port}", log_file
    finally:
        process.terminate()
        async with asyncio.timeout(10):
            await process.wait()


async def tell_and_echo(server_socket):
    """A gateway's stand-in: tells how it was asked, then echoes."""
    request = server_socket.request
    await server_socket.send(json.dumps([request.path, dict(request.headers.raw_items())]))
    async for message in server_socket:
        await server_socket.send(message)


@pytest.fixture
async def replica():
    """The address of one gateway that lives."""
    async with serve(tell_and_echo, "127.0.0.1", 0, compression=None) as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())


@pytest.mark.nginx
async def test_nginx_passes_sockets_on_and_believes_no_client(tmp_path, replica):
    """The socket goes through whole, with the address nginx saw and not the one claimed."""
    claims = {"X-Forwarded-For": "1.2.3.4"}
    async with (
        nginx_before(tmp_path, [replica]) as (address, _),
        connect(f"ws://{address}/ws?token={TOKEN}", additional_headers=claims) as client,
    ):
        path, headers = json.loads(await client.recv())
        await client.send("x" * 200_000)
        assert await client.recv() == "x" * 200_000
    assert path == f"/ws?token={TOKEN}"
    assert headers["Host"] == address
    assert headers["X-Forwarded-For"] == "127.0.0.1"


@pytest.mark.nginx
async def test_nginx_goes_past_a_replica_that_is_gone(tmp_path, replica):
    """Each connection reaches the replica that lives; the log tells of the other."""
    gone = f"127.0.0.1:{free_port()}"
    async with nginx_before(tmp_path, [gone, replica]) as (address, log_file):
        for _ in range(2):  # idle replicas take turns: one of the two meets `gone` first
            async with connect(f"ws://{address}/ws") as client:
                assert json.loads(await client.recv())[0] == "/ws"
        await eventually(lambda: log_file.read_text().count('"/ws"') == 2, what="2 lines of log")
    assert f'"replica":"{gone}, {replica}","replica_status":"502, 101"' in log_file.read_text()


@pytest.mark.nginx
@pytest.mark.parametrize("is_alive", [True, False], ids=["replica-lives", "replica-gone"])
async def test_nginx_writes_no_token(tmp_path, replica, is_alive):
    """A token of the query or of the Referer is in no line, nor in the errors nginx has."""
    upstream = replica if is_alive else f"127.0.0.1:{free_port()}"
    claims = {"Referer": f"http://page/?token={TOKEN}", "Authorization": f"Bearer {TOKEN}"}
    async with nginx_before(tmp_path, [upstream]) as (address, log_file):
        with contextlib.nullcontext() if is_alive else pytest.raises(InvalidStatus, match="502"):
            async with connect(f"ws://{address}/ws?token={TOKEN}", additional_headers=claims):
                pass
        await eventually(lambda: '"/ws"' in log_file.read_text(), what="a line of log")
    assert TOKEN not in log_file.read_text()
