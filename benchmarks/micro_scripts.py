"""What a call of the store costs: CPU of Redis and of the gateway, and memory of Redis.

    python -m benchmarks.micro_scripts [--calls N] [--histories N,N] [--conversations N]
                                       [--server PATH] [--json FILE]

It starts a Redis of its own, with an append-only file in a folder that is thrown away, and makes
the calls that the gateway makes, 50 at a time. For each it prints microseconds of CPU time, the
lowest of three rounds, by item (a message, a reader, a session, an event), as "redis + gateway":

redis     of the server's one thread: the script, its arguments and its reply, and writing the
          append-only file, without what synchronizes it
gateway   of this process: the call from `await` to the parsed reply, with asyncio's part in it

in a conversation with a history of so many messages, and in many conversations in turn.
What is flat costs the same in all columns. (The embedded server is built on the C library's malloc,
which slows all its calls to twice or more once a million values were made: not so with --server and
a Redis on jemalloc. A message in the middle of a history is found by walking there from an end.)

Then bytes of Redis memory: of a message of 200 bytes (in history, log and ids), of a conversation
nobody speaks in, and of a session attached to one conversation.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.micro_calls import ALICE, ConversationCalls, Measure, SessionCalls, begun_run
from gateway.clock import Clock
from gateway.protocol.messages import CreateConversation
from gateway.settings import Settings
from gateway.store.embedded.server import find_server_binary
from gateway.store.store import Store
from gateway.tasks import together

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 50
ROUNDS = 3
SETTLE_S = 3.0  # after many messages: Redis moves a table that has grown bit by bit meanwhile
MEMORY_OF = 2000  # things of a kind, to tell what one takes
FILLED_AT_ONCE = 2000  # messages

# A history as if so many messages had been sent: as lua/send_many.lua leaves it.
# KEYS as of lua/prelude.lua; ARGV 1 and 2 the first and the last seq, 3 log_max_events
FILL = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
for seq = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local number = string.format('%022d', seq)
  local message = '{"message_id":"m_' .. number .. '","seq":' .. seq .. ',"created_at":1.000,' ..
    '"role":"user","author":"alice","content":"' .. string.rep('x', 100) ..
    '","client_message_id":"' .. seq .. '"}'
  redis.call('RPUSH', KEYS[3], message)
  redis.call('RPUSH', KEYS[2], message)
  redis.call('HSET', KEYS[4], 'm_' .. number, seq .. ':' .. (seq + 2) .. ':' .. epoch .. ':hash:')
end
redis.call('HSET', KEYS[4], ':', string.rep('.', 65))
redis.call('LTRIM', KEYS[2], '-' .. ARGV[3], '-1')
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'offset', string.format('%d', ARGV[2] + 2))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU time by item."""

    redis_us: float
    gateway_us: float


@contextlib.contextmanager
def own_server(binary: Path) -> Iterator[str]:
    """Run a Redis; yield its URL."""
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        socket = Path(folder) / "s"
        options = {"port": "0", "unixsocket": str(socket), "dir": folder, "save": ""}
        options |= {"appendonly": "yes", "auto-aof-rewrite-percentage": "0"}
        command = [str(binary)]
        for name, value in options.items():
            command += [f"--{name}", value]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # asked for
        try:
            while not socket.exists():
                if process.poll() is not None:
                    raise RuntimeError(f"{binary} ended with {process.returncode}")
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            process.kill()
            process.wait()


async def info(store: Store, section: str) -> dict[str, str]:
    """Return what INFO tells."""
    lines = (await store.redis.execute("k", "INFO", section)).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


async def cpu_us(store: Store) -> tuple[float, float]:
    """Return the CPU time that Redis and this process have used."""
    used = await info(store, "cpu")
    redis_s = sum(float(used[f"used_cpu_{kind}_main_thread"]) for kind in ("user", "sys"))
    return redis_s * 1e6, time.process_time() * 1e6


async def used_bytes(store: Store) -> int:
    """Return what Redis has in memory."""
    return int((await info(store, "memory"))["used_memory"])


async def make_all(measure: Measure, count: int) -> None:
    """Make so many calls, some at a time."""
    left = count

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await measure.call()

    await together(work() for _ in range(AT_ONCE))


async def cost_of(store: Store, measure: Measure, calls: int) -> Cost:
    """Return the lowest cost of some rounds: other work on the machine only adds to it."""
    count = max(AT_ONCE, calls // measure.rarer)
    await make_all(measure, AT_ONCE)  # scripts are loaded, caches are filled
    rounds = []
    for _ in range(ROUNDS):
        before = await cpu_us(store)
        await make_all(measure, count)
        after = await cpu_us(store)
        rounds.append([(b - a) / count / measure.items for a, b in zip(before, after, strict=True)])
    redis_us, gateway_us = (round(min(part), 2) for part in zip(*rounds, strict=True))
    return Cost(redis_us, gateway_us)


async def costs(store: Store, measures: list[Measure], calls: int) -> dict[str, Cost]:
    """Return the cost of each."""
    return {measure.name: await cost_of(store, measure, calls) for measure in measures}


async def fill(store: Store, name: str, messages: int) -> None:
    """Give a new conversation a history."""
    await store.conversations.create(ALICE, name, CreateConversation())
    keys = store.keys.conversation(ALICE.tenant, name).all()
    for first in range(1, messages + 1, FILLED_AT_ONCE):
        last = min(messages, first + FILLED_AT_ONCE - 1)
        log_max_events = Settings().log_max_events
        await store.redis.execute(
            keys[0], "EVAL", FILL, len(keys), *keys, first, last, log_max_events
        )


async def costs_in(store: Store, names: list[str], calls: int) -> dict[str, Cost]:
    """Return the costs of all calls on conversations."""
    made = ConversationCalls(store, names)
    found = await costs(store, made.writes(), calls)
    await made.look()
    return found | await costs(store, made.reads(), calls)


async def create_all(store: Store, names: list[str]) -> None:
    """Create conversations, some at a time."""
    for start in range(0, len(names), AT_ONCE):
        await together(
            store.conversations.create(ALICE, name, CreateConversation())
            for name in names[start : start + AT_ONCE]
        )


async def measure_costs(
    store: Store, *, calls: int, histories: list[int], conversations: int
) -> dict[str, dict[str, Cost]]:
    """Return the costs by what was measured in, and by call."""
    found: dict[str, dict[str, Cost]] = {}
    for messages in histories:
        name = f"c_{messages}"
        await fill(store, name, messages)
        await store.redis.execute(name, "SCRIPT", "FLUSH", "SYNC")  # and the strings of `FILL`
        await asyncio.sleep(SETTLE_S)
        found[f"history of {messages}"] = await costs_in(store, [name], calls)
    names = [f"many_{number}" for number in range(conversations)]
    for name in names:
        await fill(store, name, 60)
    await store.redis.execute(names[0], "SCRIPT", "FLUSH", "SYNC")
    found[f"{conversations} conversations"] = await costs_in(store, names, calls)
    sessions = SessionCalls(store, await begun_run(store, "c_run"))
    found["a session of each"] = await costs(store, sessions.measures(), calls)
    found["a run"] = await costs(store, sessions.run_measures(), calls)
    return found


async def measure_memory(store: Store) -> dict[str, int]:
    """Return bytes of Redis memory, by what takes them."""
    found = {}
    marks = [await used_bytes(store)]
    names = [f"idle_{number}" for number in range(MEMORY_OF)]
    await create_all(store, names)
    marks.append(await used_bytes(store))
    found["an idle conversation"] = (marks[1] - marks[0]) // MEMORY_OF
    speaking = ConversationCalls(store, names[:20])
    await make_all(Measure("send", speaking.send), MEMORY_OF * 10)
    marks.append(await used_bytes(store))
    found["a message of 200 bytes"] = (marks[2] - marks[1]) // (MEMORY_OF * 10)
    sessions = SessionCalls(store, await begun_run(store, "c_memory"))
    begun = await used_bytes(store)
    for call in (sessions.open, sessions.resume, sessions.attach):
        await make_all(Measure("session", call), MEMORY_OF)
    found["a session"] = (await used_bytes(store) - begun) // MEMORY_OF
    return found


def table(found: dict[str, dict[str, Cost]]) -> list[str]:
    """Return lines: a call each, with a column for each it was measured in."""
    lines = []
    shown: list[list[str]] = []
    for column, rows in found.items():
        group = next((group for group in shown if set(found[group[0]]) == set(rows)), None)
        if group is None:
            shown.append([column])
        else:
            group.append(column)
    for group in shown:
        lines += ["", f"{'':<36}" + "".join(f"{column:>22}" for column in group)]
        for name in found[group[0]]:
            cells = (found[column][name] for column in group)
            text = "".join(f"{cell.redis_us:>13.1f} +{cell.gateway_us:>7.1f}" for cell in cells)
            lines.append(f"{name:<36}{text}")
    return lines


async def run(arguments: argparse.Namespace) -> dict[str, object]:
    """Measure on servers of our own, and print what was found."""
    found: dict[str, dict[str, Cost]] = {}
    memory: dict[str, int] = {}
    version = ""
    for part in ("cpu", "memory"):
        with own_server(arguments.server) as url:
            store = Store(Settings(), url, clock=Clock())
            if part == "cpu":
                version = (await info(store, "server"))["redis_version"]
                found = await measure_costs(
                    store,
                    calls=arguments.calls,
                    histories=arguments.histories,
                    conversations=arguments.conversations,
                )
            else:
                memory = await measure_memory(store)
            store.close()
    print(f"{arguments.server.name}, speaking as Redis {version}; µs of CPU, redis + gateway")
    print(*table(found), "", sep="\n")
    for name, size in memory.items():
        print(f"{name:<36}{size:>22} bytes")
    cpu = {name: {call: asdict(one) for call, one in rows.items()} for name, rows in found.items()}
    return {"server": version, "cpu_us": cpu, "memory_bytes": memory}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.micro_scripts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--calls", type=int, default=4000, help="of each kind and round (4000)")
    made.add_argument(
        "--histories",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[10, 10_000, 1_000_000],
        help="messages of the conversations (10,10000,1000000)",
    )
    made.add_argument(
        "--conversations", type=int, default=10_000, help="that are called in turn (10000)"
    )
    made.add_argument("--server", type=Path, help="the Redis to run; none: the embedded one")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return made


def main() -> None:
    """Measure, print, write."""
    arguments = parser().parse_args()
    arguments.server = arguments.server or find_server_binary()
    found = asyncio.run(run(arguments))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
