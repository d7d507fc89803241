"""A right in Redis is taken away while the gateway runs: it is named, and nothing is half told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from tests.promises.runs.person import Person
from tests.promises.sessions.clear_errors import assert_clear, ready_is
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnRedis
    from tests.support.dialling import Dialler
    from tests.support.redis_node import RedisNode

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
ALL = ("~*", "&*", "+@all")


async def with_user(redis: RedisNode) -> str:
    """Make a user that may do all, and return a URL with it."""
    await redis.call("ACL", "SETUSER", "gw", "on", ">pw", *ALL)
    return f"redis://gw:pw@{redis.address}"


@pytest.mark.parametrize("rule", ["resetchannels", "-publish"])
async def test_message_is_accepted_although_it_cannot_be_published(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, rule: str
) -> None:
    """It is stored, so it is accepted; it is heard from the log."""
    redis = await own_redis()
    gateway = await in_process(redis_url=await with_user(redis))
    alice = await dial(gateway)
    conversation = await alice.create()
    await alice.say(conversation, "before")
    with structlog.testing.capture_logs() as logs:
        await redis.call("ACL", "SETUSER", "gw", rule)
        await eventually(
            lambda: any("NOPERM" in line.get("problem", "") for line in logs), what="it is logged"
        )
        said = await alice.say(conversation, "after")
        await eventually(lambda: ready_is(gateway, 503), what="not ready", within_s=15)
        await redis.call("ACL", "SETUSER", "gw", *ALL)
        await alice.heard(conversation, said["offset"], within_s=20)
        await eventually(lambda: ready_is(gateway, 200), what="ready again", within_s=15)
    assert [m["content"] for m in await alice.history(conversation)] == ["before", "after"]
    assert not [line for line in logs if line["log_level"] == "error"]


@pytest.mark.parametrize("rule", ["-rpush", "-evalsha", "resetkeys"])
async def test_call_that_is_not_allowed_is_a_clear_error(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler, rule: str
) -> None:
    """Not `internal`: storage refuses, and the log says which right is missing."""
    redis = await own_redis()
    gateway = await in_process(redis_url=await with_user(redis))
    alice = await dial(gateway)
    conversation = await alice.create()
    await redis.call("ACL", "SETUSER", "gw", rule)
    with structlog.testing.capture_logs() as logs:
        error = await alice.refusal(
            "send_message",
            conversation_id=conversation,
            client_message_id="m1",
            content="hello",
            agent=None,
        )
    assert_clear(error, "unavailable", "timeout")
    assert any("NOPERM" in line.get("problem", "") for line in logs)
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_rights_that_the_page_names_are_enough(
    in_process: InProcess, own_redis: OwnRedis, dial: Dialler
) -> None:
    """Sessions, messages, presence and runs work, and nothing is refused."""
    (rule,) = re.findall(r"^    (ACL SETUSER .*)$", PAGE, flags=re.MULTILINE)
    redis = await own_redis()
    assert await redis.call(*rule.split()) == "OK"
    url = f"redis://gateway:SECRET@{redis.address}"
    with structlog.testing.capture_logs() as logs:
        gateway = await in_process(redis_url=url, default_agent="demo")
        person = await Person.at(dial, gateway)
        run = await person.sees_end(await person.ask('/tool weather {"town": "Ulm"}'))
        assert run.outcome == "success"
        assert await ready_is(gateway, 200)
    assert not [line for line in logs if "NOPERM" in str(line)]
