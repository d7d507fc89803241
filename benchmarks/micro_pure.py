"""What a message costs in the layers without I/O: codec, protocol, recovery, outbox.

    python -m benchmarks.micro_pure [--rounds N] [--calls N] [--json FILE]

Microseconds of one call, the best of several rounds: what else runs on the machine only adds.
A text has 200 bytes. Calls that take several items are told for one item.
"""

from __future__ import annotations

import argparse
import json
import timeit
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.fanout.outbox import Outbox
from gateway.fanout.tail import Tail
from gateway.protocol.batches import Batch, batches
from gateway.protocol.decoder import SUBPROTOCOLS
from gateway.protocol.encoders import ENCODERS
from gateway.protocol.frames import text_frame
from gateway.protocol.json_text import JsonText
from gateway.protocol.messages import MessageAccepted, Position
from gateway.protocol.publications import Publication
from gateway.protocol.rate_limit import TokenBucket
from gateway.protocol.state_machine import ConnectionProtocol
from gateway.requests.registry import HandlerRegistry
from gateway.settings import Settings
from gateway.store.channel import parse_live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = "x" * 200
MANY = 64  # events heard in one tick of a busy conversation
EVENT = (
    b'{"type":"MESSAGE_CREATED","message":{"message_id":"m_0123456789012345678901","seq":7,'
    b'"created_at":1760000000.123,"role":"user","author":"alice","content":"%b",'
    b'"client_message_id":"a1"}}' % TEXT.encode()
)
REQUEST = (
    '{"type":"send_message","id":7,"conversation_id":"c_42","client_message_id":"a1",'
    f'"content":"{TEXT}","agent":null}}'
)
ACCEPTED = MessageAccepted(
    reply_to=7,
    conversation_id="c_42",
    message_id="m_0123456789012345678901",
    client_message_id="a1",
    epoch="x1",
    offset=118,
    seq=7,
    duplicate=False,
    durability="memory",
)

Case = tuple[str, "Callable[[], object]", int]  # name, call, items in it


def events(count: int, first: int = 1) -> list[Publication]:
    """Return adjacent events of one conversation."""
    return [Publication("c_42", "x1", n, JsonText(EVENT)) for n in range(first, first + count)]


def inward() -> Iterator[Case]:
    """From a frame to what is to be done."""
    registry, settings = (
        HandlerRegistry.load(()),
        Settings(requests_per_s=1e7, requests_burst=10**9),
    )
    for codec in sorted(set(SUBPROTOCOLS.values())):
        decoder = registry.decoder(codec, settings)
        (request,) = registry.decoder("json", settings).decode(REQUEST)
        frame = REQUEST if codec == "json" else ENCODERS[codec].encode(request)  # type: ignore[arg-type]
        yield f"decode send_message, {codec}", lambda d=decoder, f=frame: d.decode(f), 1
    bucket = TokenBucket.full(1e7, burst=1e9, now=0.0)
    machine = ConnectionProtocol(
        registry.decoder("json", settings), settings, bucket, expires_at=1e12, now=0.0
    )
    machine.receive('{"type":"connect"}', 0.0)
    yield "the same through limits and state machine", lambda: machine.receive(REQUEST, 1.0), 1


def outward() -> Iterator[Case]:
    """From what happened to bytes."""
    for codec, encoder in ENCODERS.items():
        yield f"encode message_accepted, {codec}", lambda e=encoder: e.encode(ACCEPTED), 1
        yield f"an event as a frame, {codec}", lambda e=encoder: Batch(events(1)).wire(e), 1
        many = events(MANY)
        yield f"one of {MANY} joined, {codec}", lambda e=encoder, m=many: Batch(m).wire(e), MANY
    batch = Batch(events(MANY))
    batch.wire(ENCODERS["json"])
    yield "the same for one more receiver", lambda: batch.wire(ENCODERS["json"]), 1
    yield "a frame around 200 bytes", lambda: text_frame(TEXT.encode()), 1
    box = Outbox(1_000_000, on_full=_nothing, on_filled=_nothing)
    yield "through the outbox", lambda: (box.put_live(batch), box.take(65_536)), 1


def recovery() -> Iterator[Case]:
    """From a publication to what a reader lacks."""
    live = b"e:x1:7:" + EVENT
    yield "parse a live event", lambda: parse_live("c_42", live), 1
    sizes = b",".join([b"%d" % len(EVENT)] * MANY)
    run = b"b:x1:1:" + sizes + b":" + EVENT * MANY
    yield f"parse one of {MANY}", lambda: parse_live("c_42", run), MANY
    many = events(MANY)

    def remember() -> None:
        tail = Tail(Position("x1", 0), max_bytes=65_536)
        for batch in batches(many, max_bytes=65_536):
            tail.extend(batch)

    yield f"remember one of {MANY}", remember, MANY
    tail = Tail(Position("x1", 0), max_bytes=65_536)
    tail.extend(Batch(many))
    at = Position("x1", 14)
    yield "what a reader 50 behind lacks", lambda: tail.after(at), 1


def _nothing() -> None:
    pass


def measured(case: Case, rounds: int, calls: int) -> float:
    """Microseconds for one item, in the best round."""
    _, call, items = case
    count = max(100, calls // items)
    return min(timeit.repeat(call, number=count, repeat=rounds)) / count / items * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="the best of so many is told (7)")
    parser.add_argument("--calls", type=int, default=20_000, help="of a round (20000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    arguments = parser.parse_args()
    numbers = {}
    for case in (*inward(), *outward(), *recovery()):
        numbers[case[0]] = measured(case, arguments.rounds, arguments.calls)
        print(f"{numbers[case[0]]:8.2f} µs  {case[0]}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
