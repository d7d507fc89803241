"""Messages of an operator's own: the example of the documentation, over real sockets.

`docs/examples/greet.py` is loaded as the page says: its folder on the path, its name in
GATEWAY_HANDLERS.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.errors import SettingError
from gateway.requests.registry import HandlerRegistry
from tests.support.wire import RefusedRequest

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnGateway
    from tests.support.dialling import Dialler
    from tests.support.gateways import InProcessGateway

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"

TAKES_PING = """
from gateway import handler
from gateway.protocol.messages import Ping

@handler(Ping)
async def mine(context, message):
    return None
"""

LEAVES = """
import asyncio
import sys
from typing import Literal

from gateway import Request, handler

class Leave(Request, tag="leave", frozen=True, kw_only=True):
    way: Literal["exit", "keyboard", "subtask"]

@handler(Leave)
async def leave(context, message):
    match message.way:
        case "exit":
            sys.exit(3)
        case "keyboard":
            raise KeyboardInterrupt
    subtask = asyncio.ensure_future(asyncio.sleep(60))
    subtask.cancel()
    await subtask
"""

UNWRITABLE = """
from typing import Any

from gateway import Reply, Request, handler

class Show(Request, tag="show", frozen=True, kw_only=True):
    good: bool

class Shown(Reply, tag="shown", frozen=True, kw_only=True):
    what: Any

@handler(Show, together=lambda context, message: "all")
async def show(context, messages):
    return [Shown(what=1 if message.good else object()) for message in messages]
"""


@pytest.fixture
async def gateway(in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessGateway:
    """A gateway that knows `greet`."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return await in_process(handlers=("greet",))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_custom_message_gets_its_own_reply(
    gateway: InProcessGateway, dial: Dialler, codec: str
) -> None:
    """`greet` is answered with `greeting`, in both codecs, with its own fields."""
    alice = await dial(gateway, codec=codec)
    conversation = await alice.create()
    for count in (1, 2):
        reply = await alice.request("greet", conversation_id=conversation, name="Ada")
        del reply["reply_to"]
        assert reply == {"type": "greeting", "text": "Hello, Ada!", "count": count}


async def test_custom_message_changes_what_others_see(
    gateway: InProcessGateway, dial: Dialler
) -> None:
    """What the handler writes with the store reaches the other participants as an event."""
    alice, bob = await dial(gateway), await dial(gateway, "bob")
    conversation = await alice.create(visibility="open")
    joined = await bob.request("join_conversation", conversation_id=conversation)
    await alice.request("greet", conversation_id=conversation, name="Bob")
    await bob.heard(conversation, joined["offset"] + 1)
    context = await bob.request("get_agent_context", conversation_id=conversation)
    assert context["memory"] == {"greetings": 1}


async def test_custom_messages_at_once_are_all_counted(
    gateway: InProcessGateway, dial: Dialler
) -> None:
    """Three clients greet at the same moment: each count is given once."""
    alice = await dial(gateway)
    conversation = await alice.create(visibility="open")
    others = [await dial(gateway, name) for name in ("bob", "carol")]
    for other in others:
        await other.request("join_conversation", conversation_id=conversation)
    replies = await asyncio.gather(
        *(
            client.request("greet", conversation_id=conversation, name="all")
            for client in (alice, *others)
        )
    )
    assert sorted(reply["count"] for reply in replies) == [1, 2, 3]


async def test_custom_message_is_judged_like_any_other(
    gateway: InProcessGateway, dial: Dialler
) -> None:
    """A field at fault is named, a foreign conversation is not found, the connection stays."""
    alice, mallory = await dial(gateway), await dial(gateway, "mallory")
    conversation = await alice.create()
    error = await alice.refusal("greet", conversation_id=conversation, name="")
    assert error["code"] == "bad_request"
    assert "$.name" in error["message"]
    error = await mallory.refusal("greet", conversation_id=conversation, name="Mallory")
    assert error["code"] == "not_found"
    await alice.request("ping")
    await mallory.request("ping")


async def test_gateway_without_the_module_does_not_know_the_message(
    in_process: InProcess, dial: Dialler
) -> None:
    """Without GATEWAY_HANDLERS the same message is `unknown_type`."""
    alice = await dial(await in_process())
    with pytest.raises(RefusedRequest) as refused:
        await alice.request("greet", conversation_id="c", name="Ada")
    assert refused.value.code == "unknown_type"


async def test_gateway_process_loads_the_module_named_in_the_environment(
    own_gateway: OwnGateway, dial: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page says: PYTHONPATH=docs/examples GATEWAY_HANDLERS=greet gateway serve."""
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES))
    alice = await dial(await own_gateway(handlers="greet"))
    conversation = await alice.create()
    reply = await alice.request("greet", conversation_id=conversation, name="Ada")
    assert (reply["type"], reply["count"]) == ("greeting", 1)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import nothing_of_this_name", "cannot be imported"),
        ("", "has no @handler function"),
        (
            TAKES_PING,
            "is taken by gateway.handlers.connection.ping",
        ),
    ],
)
def test_module_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, problem: str
) -> None:
    """A module that fails to import, handles nothing or takes a known type ends the start."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"broken_{len(source)}"
    (tmp_path / f"{name}.py").write_text(source)
    with pytest.raises(SettingError) as refused:
        HandlerRegistry.load([name])
    assert refused.value.name == "GATEWAY_HANDLERS"
    assert name in refused.value.problem
    assert problem in refused.value.problem


async def test_whatever_leaves_a_handler_costs_its_own_request(
    own_gateway: OwnGateway, dial: Dialler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`internal` for `sys.exit()` and a cancelled subtask too; connection and gateway go on."""
    (tmp_path / "leaves.py").write_text(LEAVES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    gateway = await own_gateway(handlers="leaves")
    alice = await dial(gateway)
    for way in ("exit", "keyboard", "subtask"):
        assert (await alice.refusal("leave", way=way))["code"] == "internal"
        assert (await alice.request("ping"))["type"] == "pong"
    assert gateway.logs.count("request_failed") == 3


async def test_a_reply_that_cannot_be_encoded_costs_its_own_request(
    own_gateway: OwnGateway, dial: Dialler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of those performed with it gets one reply, its own."""
    (tmp_path / "unwritable.py").write_text(UNWRITABLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    alice = await dial(await own_gateway(handlers="unwritable"))
    shown = [{"type": "show", "good": one} for one in (True, False, True)]
    await alice.request("ping")  # there is a session: they can be performed together
    ids = await alice.start_batch(*shown)
    replies = [await alice.answer_to(one) for one in ids]
    assert [reply["type"] for reply in replies] == ["shown", "error", "shown"]
    assert (await alice.request("ping"))["type"] == "pong"  # nothing else was on the way
