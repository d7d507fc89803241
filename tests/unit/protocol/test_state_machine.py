"""One connection as a state machine: frames and time in, effects out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.codes import CloseCode, ErrorCode
from gateway.errors import BadRequest, RateLimited, UnknownType
from gateway.protocol.decoder import FrameDecoder
from gateway.protocol.messages import Connect, Ping
from gateway.protocol.rate_limit import FRAMES_A_REQUEST, TokenBucket
from gateway.protocol.state_machine import (
    Close,
    ConnectImplied,
    ConnectionProtocol,
    Effect,
    Perform,
    Phase,
    Refuse,
    Warn,
)
from gateway.settings import Settings

START_S, UNIX_S = 1000.0, 1_760_000_000.0
CONNECT, PING = '{"type":"connect","id":1}', '{"type":"ping","id":2}'
DECODER = FrameDecoder("json", [Connect, Ping], max_batch=8, max_depth=64)


def protocol(
    *,
    ttl_s: float = 3600.0,
    shared: TokenBucket | None = None,
    refusals: TokenBucket | None = None,
    decoder: FrameDecoder = DECODER,
    **chosen: Any,
) -> ConnectionProtocol:
    """Return the protocol of a connection accepted at `START_S`."""
    bucket = shared or TokenBucket.full(1000, burst=1000, now=START_S)
    settings = Settings(**chosen)
    return ConnectionProtocol(
        decoder, settings, bucket, refusals, expires_at=UNIX_S + ttl_s, now=START_S
    )


def receive(machine: ConnectionProtocol, frame: str, now: float = START_S) -> list[Effect]:
    """Take a frame; return the effects of all that is in it."""
    effects = machine.receive(frame, now)
    while machine.is_in_batch:
        effects += machine.receive_next(now)
    return effects


def names(effects: list[Effect]) -> list[str]:
    """Return what kinds of effects there are."""
    return [type(effect).__name__ for effect in effects]


TABLE = [
    (Phase.OPEN, CONNECT, ["Perform"], Phase.READY),
    (Phase.OPEN, PING, ["ConnectImplied", "Perform"], Phase.READY),
    (Phase.READY, CONNECT, ["Refuse"], Phase.READY),
    (Phase.READY, PING, ["Perform"], Phase.READY),
    (Phase.OPEN, "", [], Phase.OPEN),
    (Phase.OPEN, "{", ["Refuse"], Phase.OPEN),
    (Phase.OPEN, '{"type":"nope"}', ["Refuse"], Phase.OPEN),
    (Phase.READY, "", [], Phase.READY),
    (Phase.READY, "{", ["Refuse"], Phase.READY),
    (Phase.READY, '{"type":"nope"}', ["Refuse"], Phase.READY),
    (Phase.CLOSED, CONNECT, [], Phase.CLOSED),
    (Phase.CLOSED, PING, [], Phase.CLOSED),
    (Phase.CLOSED, "{", [], Phase.CLOSED),
]


@pytest.mark.parametrize(("phase", "frame", "effects", "next_phase"), TABLE)
def test_every_transition(phase: Phase, frame: str, effects: list[str], next_phase: Phase) -> None:
    """Each phase with each kind of input, and no other effect than these."""
    machine = protocol()
    machine.phase = phase
    assert names(machine.receive(frame, START_S)) == effects
    assert machine.phase is next_phase


def test_a_second_connect_is_refused_with_its_id() -> None:
    """The session stays as it is."""
    machine = protocol()
    machine.receive(CONNECT, START_S)
    (refused,) = machine.receive(CONNECT, START_S)
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, BadRequest)
    assert refused.request_id == 1


def test_after_a_failed_connect_the_client_may_try_again() -> None:
    """On the same connection; a closed one stays closed."""
    machine = protocol()
    machine.receive(CONNECT, START_S)
    machine.connect_failed()
    assert names(machine.receive(CONNECT, START_S)) == ["Perform"]
    machine.close()
    machine.connect_failed()
    assert machine.phase is Phase.CLOSED


def test_a_batch_is_taken_item_by_item_in_order() -> None:
    """A bad item is refused between the good ones."""
    machine = protocol()
    effects = receive(machine, f'[{CONNECT},{{"type":"nope","id":"x"}},{PING}]')
    assert names(effects) == ["Perform", "Refuse", "Perform"]
    refused = effects[1]
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, UnknownType)
    assert refused.request_id == "x"


@pytest.mark.parametrize("frame", ["x" * 1025, b"x" * 1025, "ä" * 513], ids=["text", "bytes", "ä"])
def test_a_frame_beyond_the_limit_closes_with_1009(frame: str | bytes) -> None:
    """Measured in bytes of UTF-8."""
    machine = protocol(max_frame_bytes=1024, max_content_bytes=1024)
    assert machine.receive(frame, START_S) == [Close(CloseCode.TOO_BIG)]
    assert machine.phase is Phase.CLOSED


def test_a_frame_at_the_limit_is_read() -> None:
    """To the byte."""
    machine = protocol(max_frame_bytes=1024, max_content_bytes=1024)
    frame = '{"type":"ping","ä":"' + "x" * 1001 + '"}'
    assert len(frame.encode()) == 1024
    assert names(machine.receive(frame, START_S)) == ["ConnectImplied", "Perform"]


def test_silence_beyond_heartbeat_and_timeout_closes_with_4002() -> None:
    """35 s by default; any frame counts as life."""
    machine = protocol()
    assert machine.tick(START_S + 35.0, UNIX_S) == []
    machine.heard(START_S + 35.0)
    assert machine.tick(START_S + 70.0, UNIX_S) == []
    assert machine.tick(START_S + 70.1, UNIX_S) == [Close(CloseCode.SILENT)]
    assert machine.tick(START_S + 99.0, UNIX_S) == []


def test_the_token_is_warned_of_once_and_then_closes_with_4201() -> None:
    """Sixty seconds ahead, and only who has a session."""
    machine = protocol(ttl_s=100)
    assert machine.tick(START_S, UNIX_S + 41) == []
    machine.receive(CONNECT, START_S)
    (warn,) = machine.tick(START_S, UNIX_S + 41)
    assert isinstance(warn, Warn)
    assert warn.warning.code == "token_expires_soon"
    assert "59 s" in warn.warning.message
    assert machine.tick(START_S, UNIX_S + 42) == []
    assert machine.tick(START_S, UNIX_S + 99.9) == []
    assert machine.tick(START_S, UNIX_S + 100) == [Close(CloseCode.TOKEN_EXPIRED)]


def test_a_renewed_token_is_warned_of_anew() -> None:
    """And the old expiry means nothing any more."""
    machine = protocol(ttl_s=30)
    machine.receive(CONNECT, START_S)
    assert names(machine.tick(START_S, UNIX_S)) == ["Warn"]
    machine.renewed(UNIX_S + 200)
    assert machine.tick(START_S, UNIX_S + 100) == []
    assert names(machine.tick(START_S, UNIX_S + 141)) == ["Warn"]
    assert machine.tick(START_S, UNIX_S + 200) == [Close(CloseCode.TOKEN_EXPIRED)]


def test_too_many_requests_are_refused_with_the_time_to_wait() -> None:
    """And taken again after it."""
    machine = protocol(requests_per_s=10, requests_burst=2)
    machine.receive(CONNECT, START_S)
    machine.receive(PING, START_S)
    (refused,) = machine.receive(PING, START_S)
    assert isinstance(refused, Refuse)
    assert isinstance(refused.error, RateLimited)
    assert (refused.error.retry_after_ms, refused.request_id) == (100, 2)
    assert names(machine.receive(PING, START_S + 0.1)) == ["Perform"]


def test_every_item_of_a_batch_counts() -> None:
    """Bad ones too: a batch is no way around the limit."""
    machine = protocol(requests_per_s=1, requests_burst=3)
    effects = receive(machine, f'[{CONNECT},{{}},{PING},{PING},{{"id":9}}]')
    assert names(effects) == ["Perform", "Refuse", "Perform", "Refuse", "Refuse"]
    assert [type(e.error).__name__ for e in effects if isinstance(e, Refuse)] == [
        "BadRequest",
        "RateLimited",
        "RateLimited",
    ]


def test_who_keeps_on_over_the_limit_is_closed_with_4103() -> None:
    """After as many refusals as the burst; requests in time between them change nothing."""
    machine = protocol(requests_per_s=1, requests_burst=3)
    machine.receive(CONNECT, START_S)
    for _ in range(2):
        machine.receive(PING, START_S)
    for _ in range(2):
        assert names(machine.receive(PING, START_S)) == ["Refuse"]
    assert names(machine.receive(PING, START_S + 1)) == ["Perform"]
    assert names(machine.receive(PING, START_S + 1)) == ["Refuse"]
    (close,) = machine.receive(PING, START_S + 1)
    assert isinstance(close, Close)
    assert close.code is CloseCode.RATE_LIMITED
    assert close.retry_after_ms >= 1000


def test_a_flood_with_good_requests_in_it_is_closed_after_a_bounded_number_of_refusals() -> None:
    """For as long as it goes on: 222,380 refusals in 10 s left one open."""
    machine = protocol(requests_per_s=500, requests_burst=2000)
    refused = served = 0
    for tick in range(10_000):  # a millisecond each
        for effect in receive(machine, f"[{PING},{PING},{PING}]", START_S + tick / 1000):
            refused += isinstance(effect, Refuse)
            served += isinstance(effect, Perform)
    assert machine.phase is Phase.CLOSED
    assert refused <= 2000 + 10 * 50
    assert served > 2000, "good requests were among them"


def test_refusals_are_forgotten_with_time_only() -> None:
    """A tenth of the rate: who exceeds it now and then is never closed."""
    machine = protocol(requests_per_s=10, requests_burst=5)
    for minute in range(50):
        now = START_S + 60 * minute
        effects = [effect for _ in range(9) for effect in machine.receive(PING, now)]
        assert names(effects).count("Refuse") == 4
    assert machine.phase is Phase.READY


def test_connections_of_a_subject_share_how_often_they_may_be_refused() -> None:
    """A hundred sockets, or one that comes again and again, get no more of it than one."""
    shared, refusals = (TokenBucket.full(0.001, burst=10, now=START_S) for _ in range(2))
    refused = closed = 0
    for _ in range(100):
        machine = protocol(shared=shared, refusals=refusals)
        for _ in range(5):
            found = names(machine.receive(PING, START_S))
            refused += found.count("Refuse")
            closed += found.count("Close")
    assert (refused, closed) == (10, 96)


def test_frames_over_the_rate_are_refused_without_being_decoded() -> None:
    """A refusal is cheap, whatever is in the frame; the first decides for what follows."""
    decoded: list[str | bytes] = []

    class Counting(FrameDecoder):
        def decode(self, frame: str | bytes) -> Any:
            decoded.append(frame)
            return super().decode(frame)

    counting = Counting("json", [Connect, Ping], max_batch=8, max_depth=64)
    machine = protocol(decoder=counting, requests_per_s=1, requests_burst=4)
    for _ in range(4):
        machine.receive(PING, START_S)
    bad = '[{"id":"a","type":{}},{"id":7,"typ":"ping"},1]'
    found = [effect for _ in range(2) for effect in receive(machine, bad)]
    assert [one.request_id for one in found if isinstance(one, Refuse)] == ["a", 7, None, "a"]
    assert isinstance(found[-1], Close)
    assert decoded == [PING] * 4 + [bad]


def test_a_batch_is_decoded_message_by_message() -> None:
    """Each when it is asked for: all of them decoded could be thirty times their bytes."""
    machine = protocol()
    assert names(machine.receive(f"[{CONNECT},{PING}]", START_S)) == ["Perform"]
    assert (machine.is_in_batch, machine.message_bytes) == (True, len(CONNECT))
    assert names(machine.receive_next(START_S)) == ["Perform"]
    assert (machine.is_in_batch, machine.message_bytes) == (True, len(PING))
    assert names(machine.receive_next(START_S)) == []
    assert not machine.is_in_batch


@pytest.mark.parametrize("frame", ["", "[]"])
def test_frames_without_a_message_count_over_the_rate_too(frame: str) -> None:
    """Where frames are refused without being decoded, by the ids that are in them."""
    machine = protocol(requests_per_s=1, requests_burst=3)
    for _ in range(4):
        machine.receive(PING, START_S)
    for _ in range(2):
        assert machine.receive(frame, START_S) == []
    assert names(machine.receive(frame, START_S)) == ["Close"]


@pytest.mark.parametrize("frame", ["", "[]"])
def test_frames_without_a_message_count_as_requests(frame: str) -> None:
    """They get no answer but the close; before, nobody counted them."""
    machine = protocol(requests_per_s=1, requests_burst=3)
    for _ in range(6):
        assert machine.receive(frame, START_S) == []
    (close,) = machine.receive(frame, START_S)
    assert isinstance(close, Close)
    assert close.code is CloseCode.RATE_LIMITED
    assert machine.receive(frame, START_S) == []


def test_other_frames_count_as_a_part_of_a_request() -> None:
    """Pings, pongs and fragments: sixteen as one request; then 4103, and they are life."""
    machine = protocol(requests_per_s=1, requests_burst=3)
    for _ in range(6):
        assert machine.count_other_frames(FRAMES_A_REQUEST, START_S + 1) == []
    (close,) = machine.count_other_frames(FRAMES_A_REQUEST, START_S + 1)
    assert isinstance(close, Close)
    assert close.code is CloseCode.RATE_LIMITED
    assert machine.heard_at == START_S + 1
    assert machine.count_other_frames(1_000, START_S + 1) == []


def test_other_frames_are_taken_from_the_subject_too() -> None:
    """So that a thousand connections are no way around the limit."""
    shared = TokenBucket.full(1, burst=2, now=START_S)
    machine = protocol(shared=shared)
    machine.count_other_frames(2 * FRAMES_A_REQUEST, START_S)
    assert names(machine.receive(PING, START_S)) == ["Refuse"]


def test_connections_of_a_subject_share_a_limit() -> None:
    """What one took the other lacks."""
    shared = TokenBucket.full(1, burst=2, now=START_S)
    one, other = protocol(shared=shared), protocol(shared=shared)
    assert names(one.receive(CONNECT, START_S)) == ["Perform"]
    assert names(other.receive(CONNECT, START_S)) == ["Perform"]
    assert names(one.receive(PING, START_S)) == ["Refuse"]
    assert names(other.receive(PING, START_S)) == ["Refuse"]


def test_nothing_of_a_batch_is_done_after_a_close() -> None:
    """A close is the last effect there is."""
    machine = protocol(requests_per_s=1, requests_burst=1)
    effects = receive(machine, "[" + ",".join([PING] * 8) + "]")
    assert names(effects) == ["ConnectImplied", "Perform", "Refuse", "Close"]


class Machine(RuleBasedStateMachine):
    """Any frames and times in any order, against what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = protocol(ttl_s=100, requests_per_s=5, requests_burst=10)
        self.now = 0.0
        self.effects: list[Effect] = []
        self.sessions = 0

    @rule(
        frame=st.sampled_from([CONNECT, PING, "", "{", "[]", f"[{PING},{CONNECT}]", "[1]"]),
        pause=st.floats(0, 2),
    )
    def receive(self, frame: str, pause: float) -> None:
        """A frame comes."""
        self.now += pause
        was_closed = self.machine.phase is Phase.CLOSED
        self.machine.heard(START_S + self.now)
        effects = receive(self.machine, frame, START_S + self.now)
        self.take(effects, was_closed=was_closed)

    @rule(pause=st.floats(0, 60))
    def tick(self, pause: float) -> None:
        """Time passes."""
        self.now += pause
        was_closed = self.machine.phase is Phase.CLOSED
        self.take(self.machine.tick(START_S + self.now, UNIX_S + self.now), was_closed=was_closed)

    @precondition(lambda self: self.machine.phase is Phase.READY)
    @rule()
    def fail_to_connect(self) -> None:
        """Storage was away."""
        self.machine.connect_failed()
        self.sessions = 0

    @rule()
    def renew(self) -> None:
        """The token is refreshed."""
        self.machine.renewed(UNIX_S + self.now + 100)

    def take(self, effects: list[Effect], *, was_closed: bool) -> None:
        """Remember what was to be done."""
        assert not (was_closed and effects)
        for effect in effects:
            opens = isinstance(effect, ConnectImplied) or (
                isinstance(effect, Perform) and isinstance(effect.request, Connect)
            )
            self.sessions += opens
            if isinstance(effect, Perform):
                assert self.sessions == 1
        self.effects += effects

    @invariant()
    def closes_once_and_last(self) -> None:
        """CLOSED is final."""
        closes = [effect for effect in self.effects if isinstance(effect, Close)]
        assert len(closes) <= 1
        assert bool(closes) == (self.machine.phase is Phase.CLOSED)
        assert not closes or self.effects[-1] is closes[0]

    @invariant()
    def has_at_most_one_session(self) -> None:
        """Whatever the client sends."""
        assert self.sessions <= 1
        assert (self.sessions == 1) >= (self.machine.phase is Phase.READY)


TestAnySequence = Machine.TestCase
TestAnySequence.settings = hypothesis_settings(max_examples=60, stateful_step_count=30)


def test_large_frame_over_the_rate_is_refused_before_it_is_decoded() -> None:
    """By the ids of its messages, as many as it has; it weighs as much among the refusals."""
    machine = protocol(requests_per_s=1, requests_burst=10)
    large = '[{"type":"ping","id":"a","x":"%s"},{"id":5,"type":[[1]]}]' % ("x" * 5 * 4096)
    assert names(receive(machine, large)) == ["ConnectImplied", "Perform", "Refuse"]
    refused = machine.receive(large, START_S)
    assert [(effect.request_id, effect.error.code) for effect in refused] == [
        ("a", ErrorCode.RATE_LIMITED),
        (5, ErrorCode.RATE_LIMITED),
    ]
    assert names(machine.receive(large, START_S)) == ["Close"]
    assert machine.receive(large, START_S) == []


@pytest.mark.parametrize("large", ["[1,", "{", '{"id":{}}', '{"id":"%s"}' % ("x" * 65), "[1,2]"])
def test_large_frame_without_readable_ids_is_refused_without_them(large: str) -> None:
    """Nothing in it is decoded, so nothing in it can fail."""
    machine = protocol(requests_per_s=1, requests_burst=5)
    machine.receive('{"type":"ping"}' + " " * 20_000, START_S)
    refused = machine.receive(large + " " * 5_000, START_S)
    assert {effect.request_id for effect in refused} == {None}
