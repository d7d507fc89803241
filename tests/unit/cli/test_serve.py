"""What `gateway serve` prints can be pasted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.store.redis.link import Address
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import OwnGateway
    from tests.support.dialling import Dialler


def has_ipv6() -> bool:
    """Whether this machine has the address ::1."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def printed_url(printed: str) -> str:
    """Return the URL that was printed, in a whole line; '' if there is none yet."""
    lines = printed.splitlines(keepends=True)
    found = [line for line in lines if line.startswith("url: ") and line.endswith("\n")]
    return found[0].removeprefix("url: ").strip() if found else ""


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
@pytest.mark.parametrize("workers", [1, 2])
async def test_address_with_colons_is_printed_in_brackets(
    own_gateway: OwnGateway, dial: Dialler, workers: int
) -> None:
    """The URL that `--dev` prints on ::1 leads to the gateway."""
    gateway = await own_gateway(host="::1", dev="yes", workers=workers)
    url = await eventually(lambda: printed_url(gateway.logs), what="the URL is printed")
    assert f"listening on http://[::1]:{gateway.port}" in gateway.logs.splitlines()
    assert url.startswith(f"ws://[::1]:{gateway.port}/ws?token=")
    await (await dial.open(url)).request("ping")


@pytest.mark.parametrize(
    "setting", [{"GATEWAY_REDIS_URL": "redis:/bad"}, {"GATEWAY_DURABILITY": "replicated"}]
)
def test_setting_that_cannot_be_used_is_the_only_line(
    setting: dict[str, str], tmp_path: Path
) -> None:
    """Nothing has been started yet, so nothing is logged of it."""
    command = [sys.executable, "-m", "gateway", "serve", "--dev", "--port", "0"]
    done = subprocess.run(
        [*command, "--data-dir", str(tmp_path)],
        env={**os.environ, **setting},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    (line,) = (done.stdout + done.stderr).splitlines()
    assert line.startswith(f"gateway: {next(iter(setting))}: ")


def test_redis_address_with_colons_is_named_in_brackets() -> None:
    """In logs and errors a port can be told from the address."""
    assert str(Address("::1", 6379)) == "[::1]:6379"
    assert str(Address("localhost", 6379)) == "localhost:6379"
