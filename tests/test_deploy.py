"""Facts about the deployment: the compose file as docker-compose reads it, nginx as it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import time
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

from gateway.settings import load_settings
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tools.check_compose import EXAMPLE_ENVIRONMENT, compose_config, find_compose
from tools.check_nginx import nginx_command, write_config

TOKEN = "the-token-nobody-may-read"
DOCKERFILE = (Path(__file__).parent.parent / "Dockerfile").read_text(encoding="utf-8")
PATH = os.environ.get("PATH", os.defpath)
REPLICAS = ("gateway-1", "gateway-2")


@pytest.fixture(scope="module")
def docker_compose():
    """The words that start docker-compose."""
    command = find_compose()
    if command is None:
        pytest.skip("there is no docker-compose on this machine")
    return command


@pytest.fixture(scope="module")
def config(docker_compose):
    """The file, after interpolation."""
    read = compose_config(docker_compose, "--format=json", environment=EXAMPLE_ENVIRONMENT)
    return json.loads(read.stdout)


@pytest.fixture(scope="module")
def services(config):
    """The services."""
    return config["services"]


@pytest.fixture(scope="module")
def networks(config):
    """The networks."""
    return config["networks"]


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


def in_bytes(size: str) -> int:
    """What Redis writes as `1gb`."""
    number, unit = re.fullmatch(r"(\d+)(kb|mb|gb)", size).groups()
    return int(number) * 1024 ** (["kb", "mb", "gb"].index(unit) + 1)


@pytest.mark.redis7
async def test_compose_redis_keeps_what_it_acknowledged_behind_a_password(services, tmp_path):
    """Its command, run here: an AOF, a limit, no eviction, and no answer without the password."""
    redis, port = services["redis"], free_port()
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    shell, option, script = (word.replace("$$", "$") for word in redis["command"])
    listening = script.replace("redis-server ", f"redis-server --bind 127.0.0.1 --port {port} ")
    assert listening != script
    process = await asyncio.create_subprocess_exec(
        shell, option, listening, cwd=tmp_path, env=redis["environment"] | {"PATH": PATH}
    )
    try:
        await eventually(lambda: accepts(port), what="Redis accepts connections")
        for wrong in ("", "another-password"):
            with pytest.raises(AuthenticationError):
                await ask(port, wrong, "PING")
        password = EXAMPLE_ENVIRONMENT["REDIS_PASSWORD"]
        wanted = {
            b"appendonly": b"yes",
            b"appendfsync": b"everysec",
            b"maxmemory-policy": b"noeviction",
            b"maxmemory": b"%d" % in_bytes(redis["environment"]["MAXMEMORY"]),
        }
        found = await ask(port, password, "CONFIG", "GET", *wanted)
        assert found == wanted
        assert password not in " ".join(psutil.Process(process.pid).cmdline())
    finally:
        process.terminate()
        await process.wait()
    assert [(one["type"], one["target"]) for one in redis["volumes"]] == [("volume", "/data")]


def test_compose_redis_is_reached_by_replicas_alone(services, networks):
    """It publishes no port; its network leads nowhere else, and nginx is not in it."""
    assert "ports" not in services["redis"]
    assert set(services["redis"]["networks"]) == {"store"}
    assert networks["store"]["internal"] is True
    inside = {name for name, service in services.items() if "store" in service["networks"]}
    assert inside == {"redis", *REPLICAS}


def test_compose_leaves_room_for_a_rewrite_of_the_file(services):
    """While Redis rewrites its file, pages that change are there twice."""
    redis = services["redis"]
    assert int(redis["mem_limit"]) >= 2 * in_bytes(redis["environment"]["MAXMEMORY"])


def test_compose_gives_no_service_more_rights_than_it_needs(services):
    """No capability, no new privileges, a file system to read, limits of memory and processes."""
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert "privileged" not in service, name
        if "build" not in service:  # the image that is built ends as a user without rights
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name


def test_images_are_named_by_digest(services):
    """A tag moves. What is built here has no digest; its base has."""
    for name, service in services.items():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", service["image"]), name
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:[\w.-]+@sha256:[0-9a-f]{64}", bases[0])


def test_ports_are_published_on_loopback_unless_told_otherwise(services):
    """There is no TLS here, so nobody else is let in by default."""
    published = {name: one["ports"] for name, one in services.items() if one.get("ports")}
    assert set(published) == {"nginx"}
    assert [port["host_ip"] for port in published["nginx"]] == ["127.0.0.1"]


@pytest.mark.parametrize("name", REPLICAS)
def test_compose_gives_a_replica_settings_it_takes_and_time_to_drain(services, name):
    """Every variable is a setting with a good value, and SIGKILL comes after the drain."""
    settings = load_settings(services[name]["environment"])
    password = EXAMPLE_ENVIRONMENT["REDIS_PASSWORD"]
    assert settings.redis_url == f"redis://:{password}@redis:6379/0"
    drain_s = settings.drain_window_s + settings.drain_timeout_s
    assert seconds(services[name]["stop_grace_period"]) > drain_s


@pytest.mark.parametrize("name", EXAMPLE_ENVIRONMENT)
def test_compose_without_a_secret_says_what_to_set(docker_compose, name):
    """No secret is built in: without one nothing starts, and the message names the variable."""
    others = {key: value for key, value in EXAMPLE_ENVIRONMENT.items() if key != name}
    refused = compose_config(docker_compose, "--quiet", environment=others)
    assert refused.returncode != 0
    assert f"{name} is missing a value: set it to" in refused.stderr


def accepts(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


async def ask(port: int, password: str, *words: str | bytes):
    """Ask the Redis there, over a connection of its own."""
    async with Redis(port=port, password=password or None) as redis:
        reply = await redis.execute_command(*words)
    return dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply


@contextlib.asynccontextmanager
async def nginx_before(folder, upstreams, *, limits=()):
    """Run nginx with the deployed configuration; yield its address and what it writes.

    `limits` are pairs: what the file says, and what it is to say.
    """
    port, log_file = free_port(), folder / "log"
    main_file = write_config(folder, port=port, upstreams=upstreams)
    for deployed, chosen in limits:
        assert deployed in main_file.read_text()
        main_file.write_text(main_file.read_text().replace(deployed, chosen))
    command = nginx_command(main_file, "-g", "daemon off;")
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
@pytest.mark.parametrize(
    "limits",
    [
        [("limit_conn sockets 2000;", "limit_conn sockets 2;")],
        [("rate=500r/s", "rate=1r/m"), ("burst=2000", "burst=1")],
    ],
    ids=["sockets", "requests"],
)
async def test_nginx_limits_an_address_and_no_health_check(tmp_path, replica, limits):
    """429 and when to come back, for what is over the limit of sockets or of requests a second."""
    async with (
        nginx_before(tmp_path, [replica], limits=limits) as (address, _),
        connect(f"ws://{address}/ws"),
        connect(f"ws://{address}/ws"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{address}/ws")
        for _ in range(5):  # the replica's stand-in knows sockets only, and lets them through
            async with connect(f"ws://{address}/readyz"):
                pass
    response = refused.value.response
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "5"
    assert json.loads(response.body)["code"] == "rate_limited"


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
