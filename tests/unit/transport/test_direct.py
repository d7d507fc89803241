"""A WebSocket that its application has handed over, at real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc

from gateway.protocol.frames import text_frame
from gateway.transport import control_of, direct_control_of
from gateway.transport.uvicorn.http import GatewayHttpProtocol
from gateway.transport.websocket.asgi import AsgiReceiver
from gateway.transport.websocket.connection import FastWebSocketProtocol
from tests.support.eventually import eventually, passing
from tests.support.handed_over import HandingApp, Recorder, echo
from tests.support.probe_app import ProbeApp
from tests.support.raw_sockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    connected,
    frame,
    held,
    on_both_loops,
    serving,
    upgrade,
)

CUT_S = 5.0
FOREVER = {"write_timeout_s": 3_600.0, "close_timeout_s": 3_600.0}


async def handed(app):
    """Wait until the connection has its receiver; return it."""
    await eventually(lambda: app.receivers, what="it is handed over")
    return app.receiver


async def gone(server):
    """Wait until the server has no connection."""
    await eventually(lambda: not server.server_state.connections, what="it ends", within_s=CUT_S)


def pausing(receiver, _):
    """Take one message at a time."""
    receiver.control.pause_reading()


# --- handing over ---


@on_both_loops
async def test_a_connection_lives_on_without_a_task():
    """Messages go to the receiver, and what it writes to the peer."""
    app = HandingApp(at_message=echo)
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        await eventually(lambda: not server.server_state.tasks, what="the application has left")
        await client.send(frame(TEXT, "é".encode()) + frame(BINARY, b"\xff"))
        assert await client.frame() == (TEXT, "é".encode())
        assert await client.frame() == (BINARY, b"\xff")
        await client.send(frame(TEXT, b"a", fin=False) + frame(PING) + frame(CONTINUATION, b"b"))
        assert await client.frame() == (PONG, b"")
        assert await client.frame() == (TEXT, b"ab")
        assert receiver.given == ["é", b"\xff", "ab"]


@on_both_loops
async def test_what_the_application_has_not_received_is_given_first():
    """Also what is not parsed yet, in order, and nothing twice."""

    async def receive_one(receive, _, control):
        assert (await receive())["text"] == "0"
        await eventually(lambda: not control._is_reading, what="the queue is full")

    app = HandingApp(first=receive_one)
    numbers = [str(number) for number in range(500)]
    async with serving(app) as server, connected(server) as client:
        await client.send(upgrade() + b"".join(frame(TEXT, n.encode()) for n in numbers))
        receiver = await handed(app)
        await client.send(frame(TEXT, b"last"))
        await eventually(lambda: "last" in receiver.given, what="all come")
        assert receiver.given == [*numbers[1:], "last"]


@on_both_loops
async def test_a_connection_that_has_ended_is_handed_over_with_its_end():
    """After the messages that came before it."""

    async def see_the_end(_, __, control):
        await eventually(lambda: control.is_over, what="the peer has closed")

    app = HandingApp(first=see_the_end)
    async with serving(app) as server, connected(server) as client:
        await client.send(upgrade() + frame(TEXT, b"word") + frame(CLOSE, b"\x03\xe8"))
        assert (await handed(app)).given == ["word", "ended"]


@on_both_loops
async def test_only_an_accepted_websocket_is_handed_over_and_once():
    """Each other attempt is a bug of the application."""
    app = HandingApp()
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        assert len(app.refused) == 1
        try:
            receiver.control.hand_over(receiver)
        except RuntimeError:
            return
        raise AssertionError("it was handed over twice")


@on_both_loops
async def test_nothing_of_the_handshake_stays_alive():
    """Neither the HTTP connection, nor its head, and without the garbage collector's work."""
    app = HandingApp()
    async with serving(app) as server, connected(server) as client:
        gc.collect()
        gc.disable()
        try:
            await client.open("/echo", "X-Large: " + "x" * 4_000)
            await handed(app)
            await eventually(lambda: not server.server_state.tasks, what="it has left")
            assert not [o for o in gc.get_objects() if isinstance(o, GatewayHttpProtocol)]
            assert held(server).connection._application is None
        finally:
            gc.enable()


@on_both_loops
async def test_only_the_fast_class_can_be_handed_over():
    """Under the other class, and under another server, there is no such control."""
    for settings in ({"transport": "uvicorn"}, {"compression": True}):
        app = ProbeApp()
        async with serving(app, **settings) as server, connected(server) as client:
            await client.open()
            assert control_of(app.scopes[0])
            assert direct_control_of(app.scopes[0]) is None
    assert direct_control_of({"extensions": {}}) is None
    assert direct_control_of({}) is None


# --- reading ---


@on_both_loops
async def test_nothing_is_given_after_a_pause():
    """Whatever has come already; what is kept is bounded, and given on resuming, in order."""
    app = HandingApp(at_message=pausing)
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    numbers = range(sent, sent + 1_000)
                    await client.send(b"".join(frame(TEXT, b"%0200d" % n) for n in numbers))
                    sent += 1_000
        assert len(receiver.given) == 1
        assert held(server).unparsed_bytes <= 2 * 262_144
        receiver.control.resume_reading()
        assert len(receiver.given) == 2
        receiver.at_message = None
        receiver.control.resume_reading()
        await eventually(lambda: len(receiver.given) >= sent, what="all come")
        assert [int(text) for text in receiver.given] == list(range(len(receiver.given)))


@on_both_loops
async def test_resuming_within_a_message_changes_no_order():
    """A pause and a resume at each message are as if there were none."""

    def pause_and_resume(receiver, _):
        receiver.control.pause_reading()
        receiver.control.resume_reading()

    app = HandingApp(at_message=pause_and_resume)
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        for _ in range(3):
            await client.send(b"".join(frame(TEXT, b"%d" % n) for n in range(200)))
        await eventually(lambda: len(receiver.given) == 600, what="all come")
        assert receiver.given == [str(n) for n in range(200)] * 3


@on_both_loops
async def test_a_failing_receiver_closes_with_1011():
    """It is told the end, and the other connections live."""

    def fail(_, data):
        if data == "bad":
            raise LookupError("a bug")

    app = HandingApp(at_message=fail)
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        await client.send(frame(TEXT, b"good") + frame(TEXT, b"bad") + frame(TEXT, b"late"))
        assert await client.close_code() == 1011
        assert receiver.given == ["good", "bad", "ended"]


# --- writing ---


@on_both_loops
async def test_many_frames_leave_in_one_write():
    """Several messages for the peer."""
    app = HandingApp()
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        receiver.control.write(b"".join(text_frame(b"%d" % n) for n in range(1_000)))
        assert [await client.frame() for _ in range(1_000)] == [
            (TEXT, b"%d" % n) for n in range(1_000)
        ]


@on_both_loops
async def test_a_peer_that_does_not_read_makes_it_unwritable():
    """Until it has read; then the receiver is told, and the newest ping is answered."""
    app = HandingApp()
    async with (
        serving(app, limits=FOREVER, send_buffer_bytes=16_384) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open()
        receiver = await handed(app)
        control, count = receiver.control, 0
        while control.is_writable:
            control.write(text_frame(b"x" * 16_000))
            count += 1
        await client.send(frame(PING, b"1") + frame(PING, b"2"))
        await eventually(lambda: held(server).late_pong == b"2", what="the pings have come")
        assert receiver.given == []
        for _ in range(count):
            assert (await client.frame())[0] == TEXT
        assert await client.frame() == (PONG, b"2")
        assert receiver.given == [("resumed", True)]


@on_both_loops
async def test_a_peer_that_reads_nothing_is_cut():
    """After the write timeout it is told, and a little later that all is over."""
    app = HandingApp()
    async with (
        serving(app, write_timeout_s=0.3, send_buffer_bytes=16_384) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open()
        receiver = await handed(app)
        while receiver.control.is_writable:
            receiver.control.write(text_frame(b"x" * 16_000))
        await gone(server)
        assert receiver.given == ["stalled", "ended"]


# --- ends ---


@on_both_loops
async def test_a_close_leaves_after_what_was_written():
    """Messages that cross it are dropped, and `ended` comes with the peer's answer."""
    app = HandingApp()
    async with serving(app, limits=FOREVER) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        control = receiver.control
        control.write(text_frame(b"last"))
        control.close(4101, "é" * 100)
        control.write(text_frame(b"too late"))
        control.close(1000, "")
        assert await client.frame() == (TEXT, b"last")
        opcode, payload = await client.frame()
        assert (opcode, payload) == (CLOSE, (4101).to_bytes(2, "big") + ("é" * 61).encode())
        await client.send(frame(TEXT, b"crossing") + frame(PING))
        await passing(0.05)
        assert receiver.given == []
        await client.send(frame(CLOSE, payload[:2]))
        assert await client.rest() == b""
        await gone(server)
        assert receiver.given == ["ended"]


@on_both_loops
async def test_a_close_while_reading_is_paused_still_ends():
    """The peer's answer is found behind the messages that wait."""
    app = HandingApp(at_message=pausing)
    async with serving(app, limits=FOREVER) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        await client.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
        await eventually(lambda: receiver.given == ["one"], what="it is paused")
        receiver.control.close(1000, "")
        assert await client.frame() == (CLOSE, b"\x03\xe8")
        await client.send(frame(CLOSE, b"\x03\xe8"))
        await gone(server)
        assert receiver.given == ["one", "ended"]


@on_both_loops
async def test_a_peer_that_does_not_answer_a_close_is_cut():
    """Whether it reads or not."""
    limits = FOREVER | {"close_timeout_s": 0.2}
    for stalls in (False, True):
        app = HandingApp()
        async with (
            serving(app, limits=limits, send_buffer_bytes=16_384) as server,
            connected(server, stalls=stalls) as client,
        ):
            await client.open()
            receiver = await handed(app)
            while stalls and receiver.control.is_writable:
                receiver.control.write(text_frame(b"x" * 16_000))
            receiver.control.close(1000, "")
            await gone(server)
            assert receiver.given == ["ended"]


@on_both_loops
async def test_every_end_is_told_once():
    """The peer's close, its fault, its leaving, our abort; the control stays usable."""
    ends = {
        "close": lambda client, _: client.writer.write(frame(CLOSE, b"\x03\xe8bye")),
        "violation": lambda client, _: client.writer.write(frame(0x3)),
        "half close": lambda client, _: client.writer.write_eof(),
        "reset": lambda client, _: client.writer.transport.abort(),
        "abort": lambda _, control: control.abort(),
        "stop": lambda _, control: control.shutdown(),
    }
    for name, end in ends.items():
        app = HandingApp()
        async with serving(app) as server, connected(server) as client:
            await client.open()
            receiver = await handed(app)
            end(client, receiver.control)
            await client.rest()
            client.writer.close()
            await gone(server)
            assert receiver.given == ["ended"], name
            control = receiver.control
            control.abort()
            control.write(text_frame(b"late"))
            control.close(1000, "")
            control.pause_reading()
            control.resume_reading()
            assert control.write_buffer_bytes() == 0
            assert receiver.given == ["ended"], name


@on_both_loops
async def test_a_stop_of_the_server_ends_it_with_4101():
    """It counts among the connections, though it has no task."""
    app = HandingApp()
    async with serving(app) as server, connected(server) as client:
        await client.open()
        receiver = await handed(app)
        server.request_stop()
        assert await client.close_code() == 4101
        client.writer.close()
        await gone(server)
        assert receiver.given == ["ended"]


@on_both_loops
async def test_an_ended_connection_leaves_nothing_to_the_garbage_collector():
    """A storm of reconnecting clients would make it run all the time."""
    for app in (HandingApp(at_message=echo), ProbeApp()):
        async with serving(app) as server:
            gc.collect()
            before = websockets_alive()  # of other tests of this process
            gc.disable()
            try:
                async with connected(server) as client:
                    await client.open()
                    await client.send(frame(TEXT, b"hello"))
                    await client.frame()
                    await client.send(frame(CLOSE, b"\x03\xe8"))
                    await client.rest()
                await gone(server)
                await eventually(
                    lambda server=server: not server.server_state.tasks, what="no task is left"
                )
                getattr(app, "receivers", []).clear()
                getattr(app, "scopes", []).clear()
                await eventually(
                    lambda before=before: websockets_alive() <= before, what="nothing is left"
                )
            finally:
                gc.enable()


def websockets_alive():
    """Return the ids of what there is of our WebSockets, ended ones too."""
    kinds = (FastWebSocketProtocol, AsgiReceiver, Recorder)
    return {id(found) for found in gc.get_objects() if isinstance(found, kinds)}
