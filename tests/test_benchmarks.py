"""The benchmarks measure what they say: what is lost is seen, and every workload runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.attackers.every import ATTACKERS
from benchmarks.attackers.victim import Victim
from benchmarks.generator import frames
from benchmarks.generator import marker as markers
from benchmarks.generator.client import HOST, Client
from benchmarks.generator.engine import Engine
from benchmarks.generator.room import BYTES_COMPARED, Receiver, Room
from benchmarks.generator.usage import Meter, Shares, stolen_s
from benchmarks.systems.base import Dialect, Session
from benchmarks.workloads.statistics import percentile

ROOT = Path(__file__).parent.parent
FILLER = markers.filler(200)


def message(sequence: int, *, publisher: int = 0, room: int = 0) -> bytes:
    """A frame's bytes with a marker in it."""
    name = markers.identifier(room, publisher, sequence)
    payload = b'{"text":"%b"}' % markers.text(name, 123_456, FILLER)
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def room_of(receivers: int, *, sent: int) -> tuple[Room, list[Receiver]]:
    """A room into which so many messages were sent."""
    room = Room(0)
    heard_by = [Receiver(room) for _ in range(receivers)]
    room.sent = sent
    return room, heard_by


def faults(receiver: Receiver) -> tuple[int, int, int]:
    """Lost, doubled, reordered."""
    return receiver.lost, receiver.doubled, receiver.reordered


# what is heard


@pytest.mark.parametrize("size", [1, 7, 31, 33, 250, 10_000])
@pytest.mark.parametrize("receivers", [2, BYTES_COMPARED])
def test_every_message_is_counted_once_however_bytes_are_cut(receivers, size):
    """Markers that come in pieces are found, by whoever hears them first and by the others."""
    _, heard_by = room_of(receivers, sent=20)
    stream = b"".join(message(n) for n in range(20))
    for receiver in heard_by:
        for start in range(0, len(stream), size):
            receiver.take(stream[start : start + size])
    assert [one.delivered for one in heard_by] == [20] * receivers
    assert {faults(one) for one in heard_by} == {(0, 0, 0)}


@pytest.mark.parametrize("receivers", [2, BYTES_COMPARED])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([0, 1, 3], (1, 0, 0)),
        ([0, 1, 1, 2, 3], (0, 1, 0)),
        ([0, 2, 1, 3], (0, 0, 1)),
        ([3, 0, 1, 2], (0, 0, 3)),
        ([0, 1, 2, 3, 0], (0, 1, 0)),
    ],
)
def test_lost_doubled_and_reordered_messages_are_seen(receivers, order, expected):
    """At the one who heard wrongly, and not at those who heard right, before and after it."""
    _, heard_by = room_of(receivers, sent=4)
    first, wrong, last = heard_by[0], heard_by[1], heard_by[-1]
    right = b"".join(message(n) for n in range(4))
    first.take(right)
    wrong.take(b"".join(message(n) for n in order))
    assert faults(wrong) == expected
    assert faults(first) == (0, 0, 0)
    if last is not wrong:
        last.take(right)
        assert faults(last) == (0, 0, 0)


def test_first_to_hear_is_judged_too():
    """A gap at the one who is ahead of all is a loss of its own, not of the others."""
    _, (ahead, behind) = room_of(2, sent=3)
    ahead.take(message(0) + message(2))
    behind.take(message(0) + message(1) + message(2))
    assert faults(ahead) == (1, 0, 0)
    assert faults(behind) == (0, 0, 0)


def test_publishers_may_be_heard_in_another_order_by_each():
    """Only the messages of one publisher have an order."""
    _, (one, other) = room_of(2, sent=4)
    a, b = (b"".join(message(n, publisher=p) for n in range(2)) for p in (1, 2))
    one.take(a + b)
    other.take(b + a)
    assert faults(one) == faults(other) == (0, 0, 0)


def test_messages_of_another_room_count_for_nothing():
    """Whoever hears another room has not heard its own."""
    _, (one, other) = room_of(2, sent=1)
    one.take(message(0))
    other.take(message(0, room=7))
    assert faults(other) == (1, 0, 0)
    assert other.strayed == 1


def test_frames_between_the_messages_change_nothing():
    """An answer in one stream, and not in the others, is looked over."""
    _, heard_by = room_of(BYTES_COMPARED, sent=3)
    answer = b'\x81\x0d{"ok":"~|~|"}'
    for n, receiver in enumerate(heard_by):
        receiver.take(message(0) + (answer if n == 3 else b"") + message(1))
        receiver.take(message(2))
    assert {faults(one) for one in heard_by} == {(0, 0, 0)}


def test_limit_leaves_out_what_comes_again():
    """The message that a stream makes at its end holds all its pieces a second time."""
    _, (one, _) = room_of(2, sent=2)
    one.limit = 2
    one.take(message(0) + message(1))
    one.take(message(0) + message(1))
    assert faults(one) == (0, 0, 0)


def test_caught_up_means_the_missed_ones():
    """Newer messages, however many, do not make up for those that were missed."""
    _, (one, other) = room_of(2, sent=6)
    other.take(b"".join(message(n) for n in range(6)))
    one.take(b"".join(message(n) for n in (0, 3, 4, 5)))
    assert not one.has_first(3)
    assert other.has_first(3)


def test_caught_up_means_one_publisher_among_others():
    """What others say in between does not count, at whoever is first to hear it and later."""
    _, heard_by = room_of(2, sent=6)
    for receiver in heard_by:
        for n in range(3):
            assert not receiver.has_first(n + 1)
            receiver.take(message(n, publisher=1) + message(n))
            assert receiver.has_first(n + 1)
        assert not receiver.has_first(4)


# frames


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frame_of_a_client_has_a_key_of_zero(length):
    """The payload stands in it as it is."""
    payload = b"x" * length
    made = frames.frame(payload)
    assert made.endswith(b"\0\0\0\0" + payload)
    assert made[1] & 0x80


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_a_server_are_read_byte_by_byte(length):
    """A text in two fragments with a ping between is one message after the ping."""
    payload = b"y" * length
    sizes = {125: length.to_bytes(1, "big")} if length < 126 else {}
    size = sizes.get(125) or (
        b"\x7e" + length.to_bytes(2, "big") if length < 65_536 else b"\x7f" + length.to_bytes(8)
    )
    reader, read = frames.FrameReader(), []
    data = b"\x01" + size + payload + b"\x89\x01!" + b"\x80\x02ok"
    step = max(1, len(data) // 50)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        while (found := reader.next()) is not None:
            read.append(found)
    assert read == [(frames.PING, b"!"), (frames.TEXT, payload + b"ok")]


def test_percentile_is_a_value_that_was_measured():
    """The nearest rank, whatever the count."""
    assert percentile([], 99) == 0.0
    assert percentile([5.0], 50) == 5.0
    assert percentile(range(1, 101), 99) == 99
    assert percentile(range(1, 101), 50) == 50


# what the machine is denied


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("cpu  179 35 255 286 127 0 632 4200 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n", 4200),
        ("cpu  179 35 255 286 127 0 632 0 0 0\n", 0),
        ("cpu  179 35 255 286 127 0 632\n", 0),
        ("cpu  179 35 255 286\n", 0),
        ("", 0),
    ],
)
def test_stolen_time_is_that_of_all_cores(told, expected):
    """Kernels that do not tell it have no such field."""
    assert stolen_s(told) == expected / os.sysconf("SC_CLK_TCK")


def test_stolen_share_is_a_number_of_a_result():
    """Beside what each side used."""
    numbers = Meter([os.getpid()], []).shares().numbers()
    assert set(numbers) == {"server_cpu", "redis_cpu", "generator_cpu", "stolen_cpu"}
    assert numbers["stolen_cpu"] >= 0.0
    assert Shares(0.5, 0.25, 0.125, 0.0625).numbers()["stolen_cpu"] == 0.0625


# connections


class _Answers(Session):
    """Joined when the first bytes came; remembers when it was given them."""

    is_websocket = False

    def __init__(self) -> None:
        self.given_at = 0.0

    def opening(self):
        return b""

    def opened(self):
        return [b"hello"]

    def received(self, message):
        self.given_at = time.monotonic()
        self.is_joined = message == b"hello yourself"
        return ()

    def publishing(self, room):
        raise NotImplementedError

    def resumed(self):
        raise NotImplementedError


def test_time_of_reading_is_taken_before_parsing():
    """What the generator makes of the bytes does not count as the server's time."""
    session = _Answers()
    with socket.create_server((HOST, 0)) as listening, Engine() as engine:
        client = Client(engine, session, Dialect(b"ok"), listening.getsockname()[1])
        engine.dial([client])
        served, _ = listening.accept()
        with served:
            served.sendall(b"hello yourself")
            engine.run_until(lambda: client.is_joined, within_s=10.0, what="it was answered")
    assert client.dialled_at < client.read_at <= session.given_at


def test_answers_to_a_publisher_do_not_make_the_others_differ():
    """It may be the first to hear a message, between two answers; the others' bytes are alike."""
    room = Room(0)
    publisher = Receiver(room, gets_answers=True)
    others = [Receiver(room) for _ in range(BYTES_COMPARED)]
    room.sent = 2
    for n in range(2):
        publisher.take(b'{"type":"accepted"}' + message(n))
        for one in others:
            one.take(message(n))
    assert not publisher.is_compared
    assert all(one.is_compared for one in others)
    assert {faults(one) for one in (publisher, *others)} == {(0, 0, 0)}


# everything


@pytest.mark.timeout(240)
def test_short_form_runs_every_workload_and_loses_nothing(tmp_path):
    """`--scale smoke` ends with 0 only if no message was lost, doubled or out of order."""
    file = tmp_path / "results.json"
    words = ["--scale", "smoke", "--systems", "gateway", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=230,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rounds = json.loads(file.read_text())["rounds"]
    assert {one["workload"] for one in rounds} == {
        "fanout",
        "rate",
        "connects",
        "storm",
        "idle",
        "streaming",
        "restore",
    }
    assert all(one["numbers"] for one in rounds)
    assert {"stolen_cpu" in one["numbers"] for one in rounds if one["workload"] != "idle"} == {True}
    assert "100 rooms of 2" in done.stdout


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("micro_pure", "--rounds 1 --calls 10"),
        ("micro_scripts", "--calls 50 --histories 10 --conversations 20"),
        ("micro_transport", "--connections 2 --seconds 0.2 --idle 10"),
        ("micro_replicas", "--replicas 1,2 --seconds 0.2 --per-s 200"),
    ],
)
def test_small_benchmarks_run(tmp_path, module, words):
    """Each tells numbers of everything it measures."""
    file = tmp_path / "numbers.json"
    subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *words.split(), "--json", str(file)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        timeout=110,
        check=True,
    )
    assert json.loads(file.read_text())


@pytest.mark.timeout(400)
def test_short_form_of_abuse_really_attacks_in_every_way(tmp_path):
    """A line for each attack, each with work that was tried; how well it is borne is not judged."""
    file = tmp_path / "abuse.json"
    words = ["--seconds", "0.2", "--json", str(file)]  # a gateway each: none owes for another
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.abuse", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=390,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    rows = {row["attack"]: row for row in json.loads(file.read_text())}
    assert list(rows) == ["nobody", *ATTACKERS]
    assert {name for name, row in rows.items() if not row["attempted"]} == {"nobody"}
    assert all(row["pings"] and row["idle_rss"] <= row["most_rss"] for row in rows.values())
    for name in rows:
        assert f"\n{name} " in done.stdout


def test_victim_counts_what_waits_and_what_was_lost():
    """A stall is not one bad ping but all that were due in it; a lost connection is the worst."""
    victim = Victim(0)
    now = time.monotonic()
    victim._took = [0.001] * 98
    victim._sent = {1: now - 2.0, 2: now - 1.0}
    seen = victim.seen()
    assert seen["pings"] == 100
    assert seen["p50_ms"] == 1.0
    assert seen["p99_ms"] >= 1000
    assert seen["max_ms"] >= 2000


def test_benchmarks_explain_themselves():
    """`--help` tells what is measured, and how."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    for words in ("--scale", "--only", "--systems", "--rounds", "report FILE", "ceiling"):
        assert words in done.stdout
