"""`gateway serve --dev --reload`: agents and handlers are what their files say, now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.cli.serve.reloading import Sources, modules_of
from gateway.settings import load_settings
from gateway_client import Event
from tests.client.clients import client_of
from tests.support.eventually import eventually
from tests.support.supervised import SupervisedGateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway_client import GatewayClient
    from tests.support.redis_node import RedisNode

AGENT = "async def reply(context):\n    yield {!r}\n"


class ReloadingGateway(SupervisedGateway):
    """`gateway serve --dev --reload`."""

    words = ("-m", "gateway", "serve", "--dev", "--reload")


@pytest.fixture
async def reloading(redis_server: RedisNode, tmp_path: Path, monkeypatch) -> AsyncIterator:
    """Run a gateway with an agent of the test's own; yield it and the agent's file."""
    source = tmp_path / "code" / "parrot.py"
    source.parent.mkdir()
    source.write_text(AGENT.format("one"))
    monkeypatch.setenv("PYTHONPATH", str(source.parent))
    gateway = ReloadingGateway(
        tmp_path / "gateway",
        redis_url=redis_server.url,
        agents="parrot=parrot:reply",
        default_agent="parrot",
    )
    try:
        await gateway.start()
        yield gateway, source
    finally:
        await gateway.terminate()


async def next_reply(client: GatewayClient) -> str:
    """Say something, and return what the agent says."""
    await client.conversation("c_reload").send("hello")
    async for item in client.events():
        match item:
            case Event(data={"message": {"role": "assistant", "content": str(text)}}):
                return text
    raise AssertionError("the client was closed")


async def test_changed_agent_is_what_replies(reloading, tenant: str) -> None:
    """The client stays in its session; code that cannot be loaded leaves the old one at work."""
    gateway, source = reloading
    async with client_of(gateway, tenant) as client:
        await client.join("c_reload", create=True)
        before = client.session_id
        assert await next_reply(client) == "one"
        source.write_text(AGENT.format("two"))
        await eventually(lambda: '"reloaded"' in gateway.logs, what="it is reloaded", within_s=30)
        assert await next_reply(client) == "two"
        source.write_text("this is no Python\n")
        await eventually(lambda: "reload_failed" in gateway.logs, what="it is told", within_s=30)
        assert "GATEWAY_AGENTS: parrot:reply cannot be loaded" in gateway.logs
        assert await next_reply(client) == "two"
        for process in gateway.replicas().values():
            process.kill()  # another is put in its place, and takes part in what follows
        await eventually(lambda: "replica_lost" in gateway.logs, what="it is missed")
        source.write_text(AGENT.format("three"))
        await eventually(
            lambda: gateway.logs.count('"reloaded"') == 2, what="it is reloaded", within_s=30
        )
        assert await next_reply(client) == "three"
        assert client.session_id == before


async def test_new_and_changed_and_lost_files_are_seen(tmp_path: Path, monkeypatch) -> None:
    """Of a package all, of a module by itself those beside it; nothing else."""
    monkeypatch.syspath_prepend(tmp_path)
    inner = tmp_path / "a_package" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").touch()
    (inner / "__init__.py").touch()
    sources = Sources(["a_package.inner.agents", "not_there", "sys"])
    (tmp_path / "beside.py").touch()
    (inner / "agents.py").write_text("1")
    assert await sources.changed() == ["agents.py"]
    (inner / "agents.py").write_text("12")
    assert await sources.changed() == ["agents.py"]
    (inner / "agents.py").unlink()
    assert await sources.changed() == ["agents.py"]
    alone = Sources(["beside"])
    (tmp_path / "helper.py").touch()
    assert await alone.changed() == ["helper.py"]


def test_modules_of_agents_and_handlers_are_watched() -> None:
    """As the settings name them."""
    settings = load_settings({"GATEWAY_AGENTS": "a=x.y:z, b=v:w", "GATEWAY_HANDLERS": "greet"})
    assert modules_of(settings) == ["x.y", "v", "greet"]


async def test_reload_without_dev_is_refused(tmp_path: Path) -> None:
    """It is for development."""

    class Refused(SupervisedGateway):
        words = ("-m", "gateway", "serve", "--reload")

    gateway = Refused(tmp_path, redis_url=None)
    gateway.launch()
    assert await gateway.exited() == 2
    assert "--reload: is for development and needs --dev" in gateway.logs
