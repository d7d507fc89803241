"""WebSockets at the transport: floods, stalls and broken frames, at real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import zlib

from gateway.transport import control_of
from gateway.transport.websocket.ending import LEAVING_FRAMES
from gateway.transport.websocket.frame_parser import max_fragments
from tests.support.calm import in_calm
from tests.support.eventually import eventually, passing
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
    on_both_classes,
    request,
    serving,
    upgrade,
)

CUT_S = 5.0  # far more than the limits of these tests, far less than without them
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
FOREVER = {"write_timeout_s": 3_600.0, "close_timeout_s": 3_600.0}


async def gone(server, app, *, code=1006):
    """Wait until the connection has ended and the application was told `code`."""
    await eventually(lambda: not server.server_state.connections, what="it ends", within_s=CUT_S)
    await eventually(lambda: app.disconnect_code() == code, what=f"it is told {code}")


def deflated(data):
    """Return data as a compressed message's payload (RFC 7692 section 7.2.1)."""
    squeeze = zlib.compressobj(wbits=-12)
    return (squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]


# --- frames ---


@on_both_classes
async def test_messages_come_back_as_they_were_sent():
    """Text and binary, whole and in fragments with a ping between, of every size of length."""
    async with serving() as server, connected(server) as client:
        await client.open()
        for size in (0, 1, 125, 126, 65_535, 65_536, 262_144):
            await client.send(frame(BINARY, b"b" * size) + frame(TEXT, b"t" * size))
            assert await client.frame() == (BINARY, b"b" * size)
            assert await client.frame() == (TEXT, b"t" * size)
        parts = [
            frame(TEXT, "é".encode()[:1], fin=False),
            frame(PING, b"here?"),
            frame(CONTINUATION, b"", fin=False),
            frame(CONTINUATION, "é".encode()[1:]),
        ]
        await client.send(b"".join(parts))
        assert await client.frame() == (PONG, b"here?")
        assert await client.frame() == (TEXT, "é".encode())
        await client.send(frame(CLOSE, b"\x0f\xa0bye"))
        assert await client.close_code() == 4000


@on_both_classes
async def test_broken_frames_are_answered_as_the_rfc_says():
    """1002 for what breaks the protocol, 1007 for bad text, 1009 for too much."""
    broken = {
        frame(TEXT, b"x", masked=False): 1002,
        frame(TEXT, b"x", rsv=4): 1002,
        frame(TEXT, b"x", rsv=1): 1002,
        frame(0x3, b"x"): 1002,
        frame(0xB, b"x"): 1002,
        frame(PING, b"x" * 126): 1002,
        frame(PING, b"x", fin=False): 1002,
        frame(CONTINUATION, b"x"): 1002,
        frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"): 1002,
        frame(CLOSE, b"\x00"): 1002,
        frame(CLOSE, b"\x03\xed"): 1002,
        frame(CLOSE, b"\x03\xe8\xff"): 1007,
        frame(TEXT, b"\xed\xa0\x80"): 1007,
        frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"x"): 1007,
        frame(BINARY, bytes(262_145)): 1009,
        frame(BINARY, bytes(200_000), fin=False) + frame(CONTINUATION, bytes(100_000)): 1009,
        frame(BINARY, bytes(8_000_000)): 1009,
    }
    for data, code in broken.items():
        app = ProbeApp()
        app.go_on.set()
        async with serving(app) as server, connected(server) as client:
            await client.open("/deaf")
            client.writer.write(frame(TEXT, b"before") + data)
            assert await client.close_code() == code, data[:20]
            client.writer.close()
            await gone(server, app, code=code)
            assert app.received[0]["text"] == "before"


@on_both_classes
async def test_a_frame_sent_with_the_handshake_is_not_lost():
    """And is not answered before the handshake is."""
    async with serving() as server, connected(server) as client:
        await client.send(upgrade() + frame(PING, b"early") + frame(TEXT, b"early"))
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert await client.frame() == (PONG, b"early")
        assert await client.frame() == (TEXT, b"early")


@on_both_classes
async def test_a_handshake_that_cannot_be_is_refused():
    """A missing key, and a body, which uvicorn's sansio does not answer at all."""
    async with serving() as server:
        no_key = request("/", "Connection: Upgrade", "Upgrade: websocket")
        for handshake in (no_key, upgrade("/", "Content-Length: 5"), upgrade("/", "X Y: z")):
            async with connected(server) as client, asyncio.timeout(CUT_S):
                await client.send(handshake)
                assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        await eventually(lambda: not server.server_state.connections, what="no connection is left")


@on_both_classes
async def test_a_handshake_that_is_never_accepted_is_cut():
    """With 503; the application is told, and its late accept fails as for a client that left."""
    app = ProbeApp()
    async with serving(app, handshake_timeout_s=0.2) as server, connected(server) as client:
        await client.send(upgrade("/silent"))
        async with asyncio.timeout(CUT_S):
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        client.writer.close()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert json.loads(body)["code"] == "unavailable"
        await gone(server, app)
        await eventually(lambda: app.ended == ["ClientDisconnected"], what="the accept fails")


# --- compression ---


@on_both_classes
async def test_compression_is_off_unless_asked_for():
    """A compressed frame is a broken one then."""
    async with serving() as server, connected(server) as client:
        await client.send(upgrade("/echo", DEFLATE))
        assert b"extensions" not in (await client.head()).lower()
        await client.send(frame(TEXT, deflated(b"x"), rsv=4))
        assert await client.close_code() == 1002


@on_both_classes
async def test_compression_has_a_small_window():
    """In both directions; a client that cannot promise its own gets none."""
    async with serving(compression=True) as server:
        async with connected(server) as client:
            await client.send(upgrade("/echo", f"{DEFLATE}; client_max_window_bits"))
            head = await client.head()
            assert b"server_max_window_bits=12" in head
            assert b"client_max_window_bits=12" in head
            await client.send(frame(TEXT, deflated(b"hello " * 1_000), rsv=4))
            first, payload = await client.frame()
            assert first == TEXT | 0x40
            assert zlib.decompressobj(wbits=-12).decompress(payload) == b"hello " * 1_000
        async with connected(server) as client:
            await client.send(upgrade("/echo", DEFLATE))
            assert b"extensions" not in (await client.head()).lower()


@on_both_classes
async def test_a_bomb_is_not_inflated_beyond_the_limit():
    """100 MB in 100 KB, in one frame or in many, close with 1009."""
    bomb = deflated(bytes(100_000_000))
    parts = [bomb[at : at + 200] for at in range(0, len(bomb), 200)]
    fragments = frame(BINARY, parts[0], rsv=4, fin=False)
    fragments += b"".join(frame(CONTINUATION, part, fin=False) for part in parts[1:])
    async with serving(compression=True) as server:
        for data in (frame(BINARY, bomb, rsv=4), fragments):
            async with connected(server) as client:
                await client.send(upgrade("/echo", f"{DEFLATE}; client_max_window_bits"))
                await client.head()
                client.writer.write(data)
                assert await client.close_code() == 1009


# --- floods ---


@on_both_classes
async def test_a_flood_of_empty_fragments_is_closed_with_1009():
    """They have no bytes, so no limit of bytes stops them; as many as may be cost nothing."""
    most = max_fragments(262_144)
    async with serving() as server, connected(server) as client:
        await client.open()
        await client.send(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, fin=False) * 1_000)
        await client.send(frame(PING))
        assert await client.frame() == (PONG, b"")
        assert held(server).collected == b"a"
        await client.send(frame(CONTINUATION, fin=False) * (most - 1_002))
        await client.send(frame(CONTINUATION, b"z"))
        assert await client.frame() == (TEXT, b"az")
        client.writer.write(frame(TEXT, b"a", fin=False) + frame(CONTINUATION, fin=False) * most)
        assert await client.close_code() == 1009


@on_both_classes
async def test_what_is_no_message_is_limited_and_closed_with_4103():
    """Pings, pongs and fragments cost their sender nothing; sixteen count as a request."""
    for unit in (frame(PING), frame(PONG), frame(TEXT, fin=False) + frame(CONTINUATION, b"x")):
        app = ProbeApp()
        async with (
            serving(app, requests_per_s=1.0, requests_burst=100) as server,
            connected(server) as client,
        ):
            await client.open("/deaf")
            app.go_on.set()
            client.writer.write(unit * 10 * 16)  # a tenth of what may be: no matter
            client.writer.write(frame(TEXT, b"still here"))
            await eventually(
                lambda app=app: any(m.get("text") == "still here" for m in app.received),
                what="it is served",
            )
            client.writer.write(unit * 100 * 16 * 2)
            while (received := await client.frame())[0] == PONG:
                pass
            assert (received[0], received[1][:2]) == (CLOSE, b"\x10\x07")
            client.writer.close()
            await gone(server, app, code=4103)


@on_both_classes
async def test_others_have_their_turn_while_a_chunk_is_parsed():
    """A chunk of 256 KiB holds 43,690 empty pings: they are parsed over many turns of the loop.

    And but few of them get a pong: RFC 6455 section 5.5.3 asks for that of the newest only.
    """
    turns, count = 0, 20_000
    async with (
        serving(requests_per_s=1e6, requests_burst=1_000_000) as server,
        connected(server) as client,
    ):
        await client.open()

        async def take_turns():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        other = asyncio.create_task(take_turns())
        await client.send(frame(PING) * (count - 1) + frame(PING, b"newest"))
        pongs, payload = 0, b""
        while payload != b"newest":
            opcode, payload = await client.frame()
            pongs += opcode == PONG
        other.cancel()
    assert turns > count // 400
    assert pongs < count // 40


@on_both_classes
async def test_a_few_pings_at_once_get_a_pong_each():
    """As clients expect that measure their round trip, and Autobahn's suite."""
    payloads = [str(number).encode() for number in range(10)]
    async with serving() as server, connected(server) as client:
        await client.open()
        for _ in range(2):
            await client.send(b"".join(frame(PING, payload) for payload in payloads))
            assert [await client.frame() for _ in payloads] == [(PONG, p) for p in payloads]


@on_both_classes
async def test_a_flood_after_our_close_is_not_parsed_for_long():
    """The peer's close frame is looked for in what was on its way, not in what it adds for ever."""
    for unit in (frame(TEXT, b"x"), frame(PING)):
        async with serving(limits=FOREVER) as server, connected(server) as client:
            await client.open("/close")
            assert (await client.frame())[0] == CLOSE
            with contextlib.suppress(ConnectionError):
                await client.send(unit * (2 * LEAVING_FRAMES))
            while (received := await client.rest())[:1] == b"\x8a":
                pass
            assert received == b""  # our side has ended; the peer's has not


@on_both_classes
async def test_a_flood_of_pings_of_a_peer_that_does_not_read_is_bounded():
    """What waits to be written stays small, and the peer is cut soon after the write timeout.

    Without the limit of frames, which would close it before.
    """
    app, largest = ProbeApp(), 0
    async with (
        serving(
            app, write_timeout_s=0.5, send_buffer_bytes=16_384, requests_burst=10_000_000
        ) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open()
        control = control_of(app.scopes[0])
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(CUT_S):
                while True:
                    await client.send(frame(PING, b"x" * 125) * 500)
                    largest = max(largest, control.write_buffer_bytes())
        await gone(server, app)
        assert 0 < largest < 1_000_000


@on_both_classes
async def test_of_pongs_that_had_to_wait_the_newest_is_sent():
    """RFC 6455 section 5.5.3 allows to leave out the others."""
    app = ProbeApp()
    async with (
        serving(app, send_buffer_bytes=16_384) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open("/flood")
        await eventually(lambda: not held(server).is_writable, what="it waits")
        await client.send(b"".join(frame(PING, str(n).encode()) for n in range(1_000)))
        await eventually(lambda: held(server).late_pong == b"999", what="all pings have come")
        while (received := await client.frame())[0] != PONG:
            pass
        assert received == (PONG, b"999")


@on_both_classes
async def test_reading_pauses_when_the_application_does_not_receive():
    """The sender is held back, little is kept here, and nothing is lost or reordered."""
    app, sent = ProbeApp(), itertools.count()
    async with serving(app) as server, connected(server) as client:
        await client.open("/deaf")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await client.send(frame(TEXT, b"%0200d" % next(sent)) * 1_000)
        assert held(server).queued < 1_000
        assert held(server).unparsed_bytes <= 2 * 262_144
        app.go_on.set()
        await client.send(frame(TEXT, b"last"))
        await eventually(
            lambda: app.received and app.received[-1]["text"] == "last", what="all come"
        )
        numbers = [int(message["text"]) for message in app.received[:-1]]
        assert numbers == sorted(numbers)
        assert len(numbers) >= 1_000 * (next(sent) - 1)


@on_both_classes
async def test_large_messages_pause_reading_too():
    """One of the largest size, and one being collected, are what is kept."""
    app = ProbeApp()
    async with serving(app) as server, connected(server) as client:
        await client.open("/deaf")
        client.writer.write(frame(BINARY, bytes(262_144)) * 10)
        await eventually(lambda: not held(server).is_reading, what="reading pauses")
        assert held(server).queued <= 2
        app.go_on.set()
        await eventually(lambda: len(app.received) == 10, what="all come")


# --- peers that do not read ---


@on_both_classes
async def test_a_stalled_reader_is_cut_after_the_write_timeout():
    """The application's `send` raises OSError and its `receive` tells 1006."""
    app = ProbeApp()
    async with (
        serving(app, write_timeout_s=0.3, send_buffer_bytes=16_384) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open("/flood")
        await gone(server, app)
        assert app.ended == ["ClientDisconnected"]


@on_both_classes
@in_calm
async def test_a_slow_reader_is_not_cut():
    """Reading some within each limit is enough."""
    app = ProbeApp()
    async with (
        serving(app, write_timeout_s=0.5, send_buffer_bytes=16_384) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open("/flood")
        started = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < started + 1.5:
            assert await client.frame() == (BINARY, bytes(16_384))
            await passing(0.01)  # the slowness itself
        assert not app.ended


@on_both_classes
async def test_a_close_does_not_wait_for_a_stalled_reader():
    """Whether the application closes, or leaves, or the peer ends its side only."""
    for path in ("/goodbye", "/leave", "/fill"):
        app = ProbeApp()
        async with (
            serving(app, limits=FOREVER | {"close_timeout_s": 0.3}) as server,
            connected(server, stalls=True) as client,
        ):
            await client.open(path)
            if path == "/fill":
                await eventually(
                    lambda app=app: control_of(app.scopes[0]).write_buffer_bytes(), what="it waits"
                )
                client.writer.write_eof()
            await eventually(
                lambda server=server: not server.server_state.connections,
                what=f"{path} ends",
                within_s=CUT_S,
            )


@on_both_classes
async def test_the_application_can_see_and_cut_a_stalled_reader():
    """Through the control in its scope, which stays usable afterwards."""
    app = ProbeApp()
    async with (
        serving(app, limits=FOREVER) as server,
        connected(server, stalls=True) as client,
    ):
        await client.open("/fill")
        control = control_of(app.scopes[0])
        await eventually(control.write_buffer_bytes, what="something waits")
        control.abort()
        await gone(server, app)
        control.abort()
        assert control.write_buffer_bytes() == 0


@on_both_classes
async def test_the_application_sees_when_the_peer_was_last_heard():
    """A ping, of which it is not told otherwise, counts."""
    app = ProbeApp()
    async with serving(app) as server, connected(server) as client:
        await client.open()
        control = control_of(app.scopes[0])
        before, clock = control.heard_at_s(), asyncio.get_running_loop().time
        await eventually(lambda: clock() > before, what="time has passed")
        await client.send(frame(PING))
        await client.frame()
        assert before < control.heard_at_s() <= clock()


# --- ends ---


@on_both_classes
async def test_the_application_closes_with_its_code():
    """A reason that does not fit a frame is cut at a character; a peer's echo ends it."""
    async with serving(limits=FOREVER) as server, connected(server) as client:
        await client.open("/close")
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (CLOSE, (4102).to_bytes(2, "big"))
        assert payload[2:].decode() == "é" * 61
        await client.send(frame(BINARY, b"crossing") + frame(CLOSE, payload[:2]))
        async with asyncio.timeout(CUT_S):
            assert await client.rest() == b""


@on_both_classes
async def test_a_peer_that_does_not_answer_a_close_is_cut():
    """After the close timeout, with nothing waiting."""
    async with (
        serving(limits=FOREVER | {"close_timeout_s": 0.2}) as server,
        connected(server) as client,
    ):
        await client.open("/close")
        await client.frame()
        async with asyncio.timeout(CUT_S):
            assert await client.rest() == b""


@on_both_classes
async def test_a_failed_application_closes_with_1011():
    """Not with a bare end, which tells a client nothing."""
    async with serving() as server, connected(server) as client:
        await client.open("/fail")
        assert await client.close_code() == 1011


@on_both_classes
async def test_sending_after_the_end_is_an_oserror():
    """Whoever ended it; uvicorn raises RuntimeError after some ends, as if for a bug."""
    for last in (frame(CLOSE, b"\x03\xe8"), frame(0x3), frame(TEXT, b"\xff")):
        app = ProbeApp()
        async with serving(app) as server, connected(server) as client:
            await client.open("/talkative")
            await client.send(last)
            await client.rest()
            await eventually(lambda app=app: app.ended == ["ClientDisconnected"], what="it raises")


@on_both_classes
async def test_a_lost_connection_is_told_as_1006():
    """Neither side closed."""
    for abort in (True, False):
        app = ProbeApp()
        async with serving(app) as server, connected(server) as client:
            await client.open()
            if abort:
                client.writer.transport.abort()
            else:
                client.writer.write_eof()
            await gone(server, app)


@on_both_classes
async def test_a_peer_that_has_just_reset_does_not_hinder_the_stop():
    """The loop has not told the transport yet when its end is asked for."""
    app = ProbeApp()
    async with serving(app) as server:
        with socket.create_connection(("127.0.0.1", server.bound_port)) as peer:
            peer.setblocking(False)  # noqa: FBT003  # its own signature
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(peer, upgrade("/echo"))
            assert (await loop.sock_recv(peer, 4_096)).startswith(b"HTTP/1.1 101 ")
            last = held(server)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        last.finish()  # the reset is in the kernel; the loop has not gone round since
        await eventually(lambda: not server.server_state.connections, what="it ends")
