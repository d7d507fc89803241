"""Peers that stall, fall silent or dawdle are noticed and let go; who comes back misses nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.calm import in_calm
from tests.support.eventually import eventually, passing
from tests.support.handshake import upgrade_request
from tests.support.proxy import Proxy
from tests.support.stalled_reader import stalled_reader
from tests.support.wire import RefusedRequest, SocketEnded

if TYPE_CHECKING:
    from tests.conftest import InProcess, OwnGateway
    from tests.support.dialling import Dialler
    from tests.support.gateways import GatewayProcess
    from tests.support.wire import WireClient

SILENT, SLOW_CONSUMER = 4002, 4102
PATIENCE_S = 15.0


# Stalled readers


async def test_stalled_reader_is_cut_and_resumes_whole(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """It takes nothing for the write timeout: the socket ends; a new one brings all it missed."""
    gateway = await own_gateway(
        outbox_bytes=65_536, send_buffer_bytes=16_384, write_timeout_s=2, log_format="json"
    )
    async with stalled_reader(gateway, dial, messages=60) as stall:
        await eventually(
            lambda: not stall.road.source_ports & gateway.peer_ports(),
            what="the stalled socket is let go",
            within_s=PATIENCE_S,
        )
        assert '"code":4102' in gateway.logs.replace(" ", "")
        again = await dial(gateway, "slow")
        ready = await again.restore(stall.reader)
        await again.heard(stall.conversation, stall.offset)
        assert ready["resumed"] is True
        told = [m["content"] for m in again.log(stall.conversation).messages]
        assert told == stall.contents


async def test_stalled_reader_that_reads_on_late_is_told_4102(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Who reads again after the timeout finds whole frames, then the reason, and resumes whole."""
    gateway = await own_gateway(
        outbox_bytes=65_536, send_buffer_bytes=16_384, write_timeout_s=4, tcp_user_timeout_s=60
    )
    async with stalled_reader(gateway, dial, messages=60) as stall:
        await eventually(
            lambda: "slow_consumer" in gateway.logs, what="it is closed", within_s=PATIENCE_S
        )
        stall.road.heal()
        code = await stall.reader.closed(within_s=PATIENCE_S)
        assert code == SLOW_CONSUMER
        assert stall.reader.disconnect["code"] == SLOW_CONSUMER
        assert stall.reader.disconnect["reconnect"] is True
        again = await dial(gateway, "slow")
        await again.restore(stall.reader)
        await again.heard(stall.conversation, stall.offset)
        told = [m["content"] for m in again.log(stall.conversation).messages]
        assert told == stall.contents


async def test_reader_that_stalls_for_less_than_the_write_timeout_stays(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Far more than its outbox came meanwhile: all comes from the log, in order, and once."""
    gateway = await own_gateway(outbox_bytes=65_536, send_buffer_bytes=16_384)
    async with stalled_reader(gateway, dial, messages=60) as stall:
        stall.road.heal()
        await stall.reader.heard(stall.conversation, stall.offset)
        told = [m["content"] for m in stall.reader.log(stall.conversation).messages]
        assert told == stall.contents
        assert stall.reader.disconnect is None
        said = await stall.writer.say(stall.conversation, "and live again")
        await stall.reader.heard(stall.conversation, said["offset"])


async def test_more_answers_than_an_outbox_holds_come_at_the_clients_pace(
    in_process: InProcess, dial: Dialler
) -> None:
    """Errors too: who is refused much in one frame and reads the answers is no slow consumer."""
    gateway = await in_process(outbox_bytes=4_096)
    client = await dial(gateway)
    requests = await client.start_batch(*[{"type": "no_such_type"}] * 250)
    for request in requests:
        with pytest.raises(RefusedRequest):
            await client.reply_to(request)
    assert (await client.request("ping"))["type"] == "pong"


async def test_stalled_reader_does_not_slow_the_others(
    in_process: InProcess, dial: Dialler
) -> None:
    """While one socket is full, another reader of the same conversation hears all."""
    gateway = await in_process(outbox_bytes=65_536, send_buffer_bytes=16_384)
    async with stalled_reader(gateway, dial, messages=40) as stall:
        heard = [m["content"] for m in stall.writer.log(stall.conversation).messages]
        assert heard == stall.contents
        assert (stall.reader.log(stall.conversation).offset or 0) < stall.offset


async def test_memory_of_a_stalled_reader_is_bounded(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """60 MB to ten readers that take nothing: the process holds its queues' worth at most."""
    gateway = await own_gateway(outbox_bytes=262_144)
    before = gateway.rss_bytes
    readers = []
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        writer = await dial(gateway, "writer")
        conversation = await writer.create(participants=["slow"])
        for _ in range(10):
            reader = await dial(road, "slow")
            await reader.request("join_conversation", conversation_id=conversation)
            readers.append(reader)
        road.stall()
        for _ in range(200):
            said = await writer.say(conversation, "x" * 30_000)
            await writer.heard(conversation, said["offset"])
        assert gateway.rss_bytes < before + 25_000_000


async def test_pages_asked_for_all_at_once_come_at_the_clients_pace(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Replies wait for their room: who asks for more than an outbox holds is no slow consumer."""
    gateway = await own_gateway(outbox_bytes=65_536, send_buffer_bytes=16_384)
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        reader = await dial(road, "reader")
        conversation = await reader.create()
        said = [f"{n} " + "x" * 20_000 for n in range(4)]
        for content in said:
            offset = (await reader.say(conversation, content))["offset"]
            await reader.heard(conversation, offset)
        asked = {"type": "get_conversation_history", "conversation_id": conversation}
        pages = [await reader.reply_to(n) for n in await reader.start_batch(*[asked] * 20)]
        for page in pages:
            assert [message["content"] for message in page["messages"]] == said


async def test_a_backlog_of_events_holds_up_no_request(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """What a client asks is done although it has much to read; the reply comes in its turn."""
    gateway = await own_gateway(send_buffer_bytes=16_384)
    async with stalled_reader(gateway, dial, messages=28) as stall:  # three quarters of an outbox
        asked = await stall.reader.start(
            "send_message",
            conversation_id=stall.conversation,
            client_message_id="m",
            content="still here",
            agent=None,
        )
        await stall.writer.heard(stall.conversation, stall.offset + 1)
        assert (stall.reader.log(stall.conversation).offset or 0) < stall.offset
        stall.road.heal()
        assert (await stall.reader.reply_to(asked))["offset"] == stall.offset + 1


async def test_requests_of_a_client_that_reads_no_replies_are_not_queued_without_bound(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """A flood of requests whose answers nobody takes ends that socket, not the process."""
    gateway = await own_gateway(outbox_bytes=65_536, send_buffer_bytes=16_384, write_timeout_s=3)
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        flooder = await dial(road, "flooder")
        conversation = await flooder.create()
        await flooder.say(conversation, "x" * 30_000)
        before = gateway.rss_bytes
        road.stall()
        asked = {"type": "get_conversation_history", "conversation_id": conversation}
        with pytest.raises((SocketEnded, TimeoutError)):
            await send_for_ever(flooder, [asked] * 50)
        await eventually(
            lambda: not road.source_ports & gateway.peer_ports(),
            what="the flooding socket is let go",
            within_s=PATIENCE_S,
        )
        assert gateway.rss_bytes < before + 30_000_000
    await (await dial(gateway)).request("ping")


async def send_for_ever(client: WireClient, frame: object) -> None:
    """Send the same frame again and again, until the socket ends or patience does."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await client.send(frame)


async def test_ping_frames_of_a_client_that_does_not_read_are_bounded(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """A flood of WebSocket pings (RFC 6455 section 5.5.2) does not pile up pongs."""
    gateway = await own_gateway(write_timeout_s=2, send_buffer_bytes=16_384)
    before = gateway.rss_bytes
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        reader, writer = await asyncio.open_connection("127.0.0.1", road.port)
        writer.write(upgrade_request(dial.token("flooder")))
        await reader.readuntil(b"\r\n\r\n")
        road.stall()
        ping = b"\x89\xfd" + b"\0\0\0\0" + b"x" * 125
        try:
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(2_000):
                    writer.write(ping * 100)
                    await writer.drain()
        except (OSError, TimeoutError):
            pass
        assert gateway.rss_bytes < before + 15_000_000
        writer.transport.abort()


# Half-open peers


async def test_silent_peer_without_unsent_data_is_closed_with_4002(
    in_process: InProcess, dial: Dialler
) -> None:
    """Nothing is heard of it: after interval and timeout it gets the reason and the close."""
    gateway = await in_process(heartbeat_s=0.5, heartbeat_timeout_s=0.5)
    async with Proxy(gateway.port) as road:
        alice = await dial(road)
        await alice.connect()
        assert alice.hello["heartbeat"] == {"interval_s": 0.5, "timeout_s": 0.5}
        road.swallow_requests()
        assert await alice.closed(within_s=PATIENCE_S) == SILENT
        assert (alice.disconnect["code"], alice.disconnect["reason"]) == (SILENT, "silent")
        again = await dial(gateway)
        assert (await again.restore(alice))["resumed"] is True


@in_calm
async def test_peer_that_pings_is_never_silent(in_process: InProcess, dial: Dialler) -> None:
    """`ping` in time keeps the connection, over several limits."""
    gateway = await in_process(heartbeat_s=0.4, heartbeat_timeout_s=0.4)
    alice = await dial(gateway)
    for _ in range(10):
        assert (await alice.request("ping"))["type"] == "pong"
        await passing(0.3)
    assert alice.is_open


async def test_half_open_peer_without_unsent_data_is_let_go(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Both ends see an open connection that carries nothing; the server's end goes first."""
    gateway = await own_gateway(heartbeat_s=0.5, heartbeat_timeout_s=0.5)
    await noticed_half_open(gateway, dial, talking=False)


async def test_half_open_peer_with_unsent_data_is_let_go(
    own_gateway: OwnGateway, dial: Dialler
) -> None:
    """Data that the peer does not take must not keep the close from happening."""
    gateway = await own_gateway(
        heartbeat_s=0.5, heartbeat_timeout_s=0.5, write_timeout_s=2, send_buffer_bytes=16_384
    )
    await noticed_half_open(gateway, dial, talking=True)


async def noticed_half_open(gateway: GatewayProcess, dial: Dialler, *, talking: bool) -> None:
    """Check that a half-open connection is let go, and that its client resumes whole."""
    async with Proxy(gateway.port, receive_buffer_bytes=4_096) as road:
        alice = await dial(road)
        await alice.connect()
        conversation = await alice.create(participants=["bob"])
        (port,) = road.source_ports
        road.swallow_requests()
        road.stall()
        contents = []
        if talking:
            bob = await dial(gateway, "bob")
            contents = [f"{n}" + "x" * 30_000 for n in range(10)]
            for content in contents:
                last = await bob.say(conversation, content)
        await eventually(
            lambda: port not in gateway.peer_ports(),
            what="the half-open socket is let go",
            within_s=PATIENCE_S,
        )
        again = await dial(gateway)
        ready = await again.restore(alice)
        assert ready["resumed"] is True
        if talking:
            await again.heard(conversation, last["offset"])
        assert [m["content"] for m in again.log(conversation).messages] == contents


async def test_sockets_that_never_say_anything_keep_only_their_time(
    in_process: InProcess, dial: Dialler
) -> None:
    """Upgraded, then silent: a client that never sends a frame is closed as silent too."""
    gateway = await in_process(heartbeat_s=0.5, heartbeat_timeout_s=0.5)
    mute = await dial(gateway)
    assert await mute.closed(within_s=PATIENCE_S) == SILENT
