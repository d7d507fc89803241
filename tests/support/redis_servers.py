"""Real Redis servers for tests: standalone, watched by sentinels, and a cluster.

Each is an async context manager that yields it ready to use, with a `url` as GATEWAY_REDIS_URL
takes it, and leaves no process and no file behind:

    async with standalone() as server:                      # 0.1 s
    async with standalone(binary=redis7()) as server:       # where `redis7()` is not None
    async with sentinels() as group:                        # 2 to 3 s
        (await group.master()).kill()
    async with cluster() as group:                          # 2 to 4 s
        (await group.node_for_key("{s00}:log")).pause()
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hiredis

from gateway.store.embedded.server import find_server_binary
from tests.support.eventually import eventually
from tests.support.ports import HOST, free_port
from tests.support.redis_node import PERSISTENT, RedisNode, fields_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

SERVICE = "gateway"
READY_S = 40.0
SLOTS = 16_384
SHARDS = 3
SENTINELS = 3
DOWN_AFTER_MS = 1000  # less, and a busy test machine makes healthy servers look dead


def redis7() -> Path | None:
    """Return the redis-server on PATH, the oldest kind we support, or None."""
    found = shutil.which("redis-server")
    return Path(found) if found else None


class RedisGroup:
    """Servers that belong together. What is done to the group is done to each of its `nodes`."""

    def __init__(self, nodes: Sequence[RedisNode]) -> None:
        self.nodes = tuple(nodes)

    def kill(self) -> None:
        """SIGKILL them all."""
        for node in self.nodes:
            node.kill()

    def pause(self) -> None:
        """SIGSTOP them all."""
        for node in self.nodes:
            node.pause()

    def resume(self) -> None:
        """SIGCONT them all."""
        for node in self.nodes:
            node.resume()

    async def start(self) -> None:
        """Start them all at once."""
        await _all(node.start() for node in self.nodes)

    async def stop(self) -> None:
        """SIGTERM them all."""
        await _all(node.stop() for node in self.nodes)

    async def restart(self) -> None:
        """Start them again on their data, after `stop` of those still running."""
        await _all(node.restart() for node in self.nodes)

    def node_at(self, port: int) -> RedisNode:
        """Return the node on a port."""
        return next(node for node in self.nodes if node.port == port)

    async def ask(self, *words: str | int) -> object:
        """Return the reply of the first node that answers."""
        for node in self.nodes:
            with suppress(OSError):
                if node.can_answer:
                    return await node.call(*words)
        raise AssertionError(f"no node of {self.nodes} answers")


class SentinelGroup(RedisGroup):
    """A master and its replicas (`nodes`), and the `sentinels` that watch them."""

    def __init__(self, nodes: Sequence[RedisNode], sentinels: RedisGroup) -> None:
        super().__init__(nodes)
        self.sentinels = sentinels

    @property
    def url(self) -> str:
        """The `redis+sentinel://` URL."""
        hosts = ",".join(node.address for node in self.sentinels.nodes)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    async def master(self) -> RedisNode:
        """Return the master as the first sentinel that answers sees it, alive or not."""
        reply = await self.sentinels.ask("SENTINEL", "get-master-addr-by-name", SERVICE)
        assert isinstance(reply, list), reply
        return self.node_at(int(reply[1]))

    async def is_settled(self) -> bool:
        """Whether each sentinel knows the others, and all replicas are in step with the master."""
        replicas = len(self.nodes) - 1
        try:
            for sentinel in self.sentinels.nodes:
                told = await sentinel.call("SENTINEL", "master", SERVICE)
                if not _is_settled_for(told, replicas):
                    return False
            master = await self.master()
            others = [node for node in self.nodes if node is not master]
            return await _has_replicas(master, replicas) and all(
                [await _is_in_step(node) for node in others]
            )
        except (OSError, hiredis.ReplyError):
            return False


class ClusterGroup(RedisGroup):
    """Three masters, then their three replicas."""

    @property
    def url(self) -> str:
        """The `redis+cluster://` URL, of all nodes."""
        return "redis+cluster://" + ",".join(node.address for node in self.nodes)

    async def node_for_slot(self, slot: int) -> RedisNode:
        """Return the master of a slot as the first node that answers sees it, alive or not."""
        ranges = await self.ask("CLUSTER", "SLOTS")
        assert isinstance(ranges, list), ranges
        return next(self.node_at(row[2][1]) for row in ranges if row[0] <= slot <= row[1])

    async def node_for_key(self, key: str) -> RedisNode:
        """Return the master of a key."""
        slot = await self.ask("CLUSTER", "KEYSLOT", key)
        assert isinstance(slot, int), slot
        return await self.node_for_slot(slot)

    async def is_settled(self) -> bool:
        """Whether all nodes serve all slots, and each shard has a replica in step."""
        try:
            return all([await self._is_settled_for(node) for node in self.nodes])
        except (OSError, hiredis.ReplyError):
            return False

    async def _is_settled_for(self, node: RedisNode) -> bool:
        state = fields_of(await node.call("CLUSTER", "INFO"))
        ranges = await node.call("CLUSTER", "SLOTS")
        replication = await node.info("replication")
        assert isinstance(ranges, list)
        slots = sum(last - first + 1 for first, last, *_ in ranges)
        is_whole = slots == SLOTS and {len(row) for row in ranges} == {4}  # with a replica each
        is_linked = replication["role"] == "master" or replication["master_link_status"] == "up"
        return state["cluster_state"] == "ok" and is_whole and is_linked


@asynccontextmanager
async def standalone(
    *, binary: Path | None = None, options: dict[str, str] | None = None
) -> AsyncIterator[RedisNode]:
    """Yield one server with an append-only file.

    Args:
        binary: None for the one that the embedded server uses.
        options: of the server, without dashes, over those of the embedded server.
    """
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        node = RedisNode(
            Path(folder, "node"),
            binary=binary or find_server_binary(),
            options=PERSISTENT | (options or {}),
        )
        try:
            await node.start()
            yield node
        finally:
            node.kill()


@asynccontextmanager
async def sentinels(
    *, binary: Path | None = None, options: dict[str, str] | None = None, replicas: int = 1
) -> AsyncIterator[SentinelGroup]:
    """Yield a master with its replicas, and three sentinels of which two must agree."""
    binary = binary or find_server_binary()
    data_options = PERSISTENT | {"repl-diskless-sync-delay": "0"} | (options or {})
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        first = RedisNode(Path(folder, "d0"), binary=binary, options=data_options)
        follow = data_options | {"replicaof": f"{HOST} {first.port}"}
        others = [
            RedisNode(Path(folder, f"d{n}"), binary=binary, options=follow)
            for n in range(1, replicas + 1)
        ]
        config = sentinel_config(first)
        watchers = [
            RedisNode(Path(folder, f"s{n}"), binary=binary, options={}, config=config)
            for n in range(SENTINELS)
        ]
        async with watched(SentinelGroup([first, *others], RedisGroup(watchers))) as group:
            yield group


@asynccontextmanager
async def watched(group: SentinelGroup) -> AsyncIterator[SentinelGroup]:
    """Start a group whose first node is the master, and yield it when its sentinels agree."""
    first, *others = group.nodes
    try:
        await group.start()
        # A sentinel asks for replicas once in 10 s: it must find ours the first time.
        await eventually(
            lambda: _has_replicas(first, len(others)), what="it replicates", within_s=READY_S
        )
        await group.sentinels.start()
        await eventually(group.is_settled, what="the sentinels agree", within_s=READY_S)
        yield group
    finally:
        group.sentinels.kill()
        group.kill()


@asynccontextmanager
async def cluster(
    *, binary: Path | None = None, options: dict[str, str] | None = None
) -> AsyncIterator[ClusterGroup]:
    """Yield a cluster of three masters with a replica each."""
    own = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": str(2 * DOWN_AFTER_MS),
        "repl-diskless-sync-delay": "0",
    }
    with tempfile.TemporaryDirectory(prefix="gw-") as folder:
        group = ClusterGroup(
            [
                RedisNode(
                    Path(folder, f"n{n}"),
                    binary=binary or find_server_binary(),
                    options=PERSISTENT | own | {"cluster-port": str(free_port())} | (options or {}),
                )
                for n in range(2 * SHARDS)
            ]
        )
        try:
            await group.start()
            await _join(group)
            await eventually(group.is_settled, what="the cluster is whole", within_s=READY_S)
            yield group
        finally:
            group.kill()


async def _join(group: ClusterGroup) -> None:
    masters, replicas = group.nodes[:SHARDS], group.nodes[SHARDS:]
    for n, node in enumerate(masters):
        first, last = n * SLOTS // SHARDS, (n + 1) * SLOTS // SHARDS - 1
        await node.call("CLUSTER", "ADDSLOTSRANGE", first, last)
    for n, node in enumerate(group.nodes):
        await node.call("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
    for node in group.nodes[1:]:
        bus = (await node.call("CONFIG", "GET", "cluster-port"))[1]
        await masters[0].call("CLUSTER", "MEET", HOST, node.port, bus)
    for master, replica in zip(masters, replicas, strict=True):
        await eventually(
            lambda master=master, replica=replica: _follows(replica, master),
            what=f"{replica} follows {master}",
            within_s=READY_S,
        )


async def _follows(replica: RedisNode, master: RedisNode) -> bool:
    try:
        master_id = await master.call("CLUSTER", "MYID")
        return await replica.call("CLUSTER", "REPLICATE", str(master_id)) == "OK"
    except hiredis.ReplyError:  # it has not heard of the master yet
        return False


def sentinel_config(master: RedisNode) -> str:
    """Return the configuration of a sentinel."""
    return (
        f"sentinel monitor {SERVICE} {master.host} {master.port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {SERVICE} {2 * DOWN_AFTER_MS}\n"
    )


async def _has_replicas(master: RedisNode, count: int) -> bool:
    told = await master.info("replication")
    return all("state=online" in told.get(f"slave{n}", "") for n in range(count))


async def _is_in_step(replica: RedisNode) -> bool:
    """Whether it has loaded what its master sent: for the master it is online before that."""
    return (await replica.info("replication")).get("master_link_status") == "up"


def _is_settled_for(reply: object, replicas: int) -> bool:
    assert isinstance(reply, list), reply
    facts = dict(zip(reply[::2], reply[1::2], strict=True))
    knows_others = int(facts["num-other-sentinels"]) == SENTINELS - 1
    return knows_others and int(facts["num-slaves"]) == replicas and facts["flags"] == "master"


async def _all(steps) -> None:
    async with asyncio.TaskGroup() as group:
        for step in steps:
            group.create_task(step)
