"""The inbox: how much is read ahead, when reading stops, and when it goes on."""

from __future__ import annotations

import asyncio
from sys import getsizeof

from gateway.clock import Clock
from gateway.connections.inbox import MAX_FRAMES, Inbox
from gateway.protocol.decoder import FrameDecoder
from gateway.protocol.messages import Connect, Ping, SendMessage
from gateway.protocol.rate_limit import TokenBucket
from gateway.protocol.state_machine import ConnectionProtocol, Perform
from gateway.settings import Settings

PING = '{"type":"ping"}'
MAX_BYTES = 262_144


class Tap:
    """A socket, as far as reading goes; counts."""

    def __init__(self) -> None:
        self.is_reading, self.pauses = True, 0

    def pause_reading(self) -> None:
        """Stop."""
        self.is_reading = False
        self.pauses += 1

    def resume_reading(self) -> None:
        """Go on."""
        self.is_reading = True


def inbox() -> tuple[Inbox, Tap]:
    """Return an inbox of a connection, and its socket."""
    clock, tap = Clock(), Tap()
    now = clock.monotonic_s()
    decoder = FrameDecoder("json", [Connect, Ping, SendMessage], max_batch=256, max_depth=64)
    bucket = TokenBucket.full(1e6, burst=1e6, now=now)
    settings = Settings(requests_burst=1_000_000)
    protocol = ConnectionProtocol(decoder, settings, bucket, expires_at=2e9, now=now)
    return Inbox(protocol, tap, clock, max_bytes=MAX_BYTES), tap


def fill(waiting: Inbox, tap: Tap, frame: str) -> int:
    """Add frames until reading stops; return how many there were."""
    count = 0
    while tap.is_reading:
        waiting.add(frame)
        count += 1
    return count


async def test_reading_stops_at_a_number_of_small_frames_and_goes_on_when_half_are_done() -> None:
    """In another turn of the loop: a flood of small frames must leave others theirs."""
    waiting, tap = inbox()
    assert fill(waiting, tap, PING) == MAX_FRAMES
    for _ in range(MAX_FRAMES // 2 + 1):
        waiting.take()
        assert not tap.is_reading
    await asyncio.sleep(0)
    assert tap.is_reading
    assert tap.pauses == 1


async def test_reading_stops_at_the_bytes_that_frames_take_in_memory() -> None:
    """A text with one large character takes four bytes for each."""
    for text in ("x" * 60_000, "🦜" + "x" * 60_000, "🦜" + "x" * 250_000):
        waiting, tap = inbox()
        frame = f'{{"type":"ping","x":"{text}"}}'
        count = fill(waiting, tap, frame)
        assert (count - 1) * getsizeof(frame) < MAX_BYTES <= count * getsizeof(frame)
        while waiting.take() is not None:
            pass
        await asyncio.sleep(0)
        assert tap.is_reading
        assert fill(waiting, tap, frame) == count


async def test_requests_that_join_another_have_no_more_bytes_than_may_be_read_ahead() -> None:
    """Decoded they wait as well, for as long as the step takes that they are performed in."""
    waiting, _ = inbox()
    named = '"conversation_id":"c","client_message_id":"m"'
    frame = f'{{"type":"send_message",{named},"content":"{"x" * 60_000}"}}'
    for _ in range(20):
        waiting.add(frame)
    first = [waiting.take() for _ in range(2)]  # the session that it implies comes before
    assert isinstance(first[1], Perform)
    joined = list(waiting.take_joining(lambda _request: True))
    assert 1 + len(joined) == MAX_BYTES // len(frame)


async def test_a_batch_is_decoded_as_it_is_taken() -> None:
    """So that one message of it is in memory, and the inbox says that more waits."""
    waiting, _ = inbox()
    waiting.add(f"[{PING},{PING},{PING}]")
    kinds = []
    while (effect := waiting.take()) is not None:
        kinds.append(type(effect).__name__)
        assert bool(waiting) or len(kinds) == 4
    assert kinds == ["ConnectImplied", "Perform", "Perform", "Perform"]
    assert not waiting
