"""3. The same token from another address: the session is recognised, its context is there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.eventually import eventually
from tests.support.network_namespace import NamespaceUnavailable, NetworkNamespace
from tests.support.proxy import Proxy

if TYPE_CHECKING:
    from tests.conftest import OwnGateway, Replicas
    from tests.support.dialling import Dialler


async def test_session_is_recognised_from_another_address(
    replicas: Replicas, dial: Dialler
) -> None:
    """A device that moved from 127.0.0.2 to 127.0.0.3 resumes with its history and context."""
    home = await dial(replicas[0], source="127.0.0.2")
    await home.connect()
    conversation = await home.create()
    said = await home.say(conversation, "from home")
    await home.request(
        "update_agent_context",
        conversation_id=conversation,
        base_version=0,
        patch=[{"op": "add", "path": "/memory/place", "value": "home"}],
    )
    await home.vanish()

    train = await dial(replicas[1], source="127.0.0.3")
    ready = await train.restore(home)
    context = await train.request("get_agent_context", conversation_id=conversation)
    assert ready["resumed"] is True
    assert ready["session_id"] == home.session["session_id"]
    assert context["memory"] == {"place": "home"}
    assert [m["message_id"] for m in await train.history(conversation)] == [said["message_id"]]


async def test_resumes_from_many_addresses_one_after_the_other(
    replicas: Replicas, dial: Dialler
) -> None:
    """The address never matters: nine hops between two replicas keep one session."""
    current = await dial(replicas[0])
    first = await current.connect()
    conversation = await current.create()
    for hop in range(2, 11):
        await current.say(conversation, f"before hop {hop}")
        await current.vanish()
        successor = await dial(replicas[hop % 2], source=f"127.0.0.{hop}")
        ready = await successor.restore(current)
        assert (ready["session_id"], ready["resumed"]) == (first["session_id"], True)
        current = successor
    contents = [m["content"] for m in await current.history(conversation)]
    assert contents == [f"before hop {hop}" for hop in range(2, 11)]
    assert [m["content"] for m in current.log(conversation).messages] == contents


async def test_old_path_that_went_silent_does_not_hold_the_session(
    replicas: Replicas, dial: Dialler
) -> None:
    """The first network swallows everything; the session goes on over the second at once."""
    async with AsyncExitStack() as paths:
        wifi = await paths.enter_async_context(Proxy(replicas[0].port, source="127.0.0.21"))
        mobile = await paths.enter_async_context(Proxy(replicas[1].port, source="127.0.0.22"))
        phone = await dial(wifi)
        await phone.connect()
        conversation = await phone.create(participants=["bob"])
        wifi.half_open()
        bob = await dial(replicas[0], "bob")
        said = await bob.say(conversation, "are you there?")
        again = await dial(mobile)
        ready = await again.restore(phone)
        assert ready["resumed"] is True
        assert ready["generation"] == phone.session["generation"] + 1
        await again.heard(conversation, said["offset"])
        assert [m["content"] for m in again.log(conversation).messages] == ["are you there?"]


@pytest.mark.netns
async def test_address_of_the_device_changes_under_an_open_socket(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """In a network of its own a device loses its address: the old socket is dead without a word."""
    try:
        network = NetworkNamespace.make()
    except NamespaceUnavailable as exc:
        pytest.skip(str(exc))
    with network:
        gateway = await own_gateway(host="0.0.0.0", heartbeat_s=2, heartbeat_timeout_s=1)  # noqa: S104
        network.give_address(2)
        target = (network.gateway_address, gateway.port)
        phone = await dial(gateway, sock=await network.connect(target))
        await phone.connect()
        conversation = await phone.create(participants=["bob"])
        first = await phone.say(conversation, "before")
        await phone.heard(conversation, first["offset"])
        old_port = phone.local_port

        network.take_address(2)
        network.give_address(3)
        bob = await dial(gateway, "bob")
        for n in range(3):
            last = await bob.say(conversation, f"away {n}")

        again = await dial(gateway, sock=await network.connect(target))
        ready = await again.restore(phone)
        assert ready["resumed"] is True
        assert again.local_address != phone.local_address
        await again.heard(conversation, last["offset"])
        assert [m["content"] for m in again.log(conversation).messages] == [
            "before",
            "away 0",
            "away 1",
            "away 2",
        ]
        # With unsent data to an address that is gone: TCP would try for minutes.
        await eventually(
            lambda: old_port not in gateway.peer_ports(), what="the dead socket is let go"
        )
        await phone.vanish()
