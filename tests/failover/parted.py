"""Servers and gateways on two sides of a network that can be parted."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.store.embedded.server import find_server_binary
from tests.failover.topologies import SETTINGS, Ground, Place
from tests.support.gateways import GatewayProcess
from tests.support.redis_node import PERSISTENT, RedisNode
from tests.support.redis_servers import RedisGroup, SentinelGroup, sentinel_config, watched
from tests.support.split_network import SplitNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.failover.plan import Plan

OPEN = {"protected-mode": "no"}  # in a network of their own
DATA = PERSISTENT | OPEN | {"repl-diskless-sync-delay": "0"}
MINORITY, MAJORITY = 0, 1


@asynccontextmanager
async def parted_ground(plan: Plan, data_dir: str) -> AsyncIterator[Ground]:
    """Yield a master, a sentinel and a gateway on one side; a replica and the rest on the other.

    Raises:
        NamespaceUnavailable: this machine does not let us.
    """
    folder = Path(data_dir)
    async with AsyncExitStack() as stack:
        network = stack.enter_context(SplitNetwork.make())
        group = await stack.enter_async_context(watched(_group(network, folder)))
        places, gateways = [], []
        for side in (MINORITY, MAJORITY):
            gateway = GatewayProcess(
                folder / f"gateway{side}",
                redis_url=group.url,
                host=network.hosts[side],
                inside=network.insides[side],
                durability=plan.durability,
                redis_timeout_s=plan.kind.patience_s[side],
                **(SETTINGS | {"log_level": "info"}),
            )
            stack.push_async_callback(gateway.dispose)
            await gateway.start()
            gateways.append(gateway)
            places.append(Place(gateway.host, gateway.port))
        yield Ground(group, tuple(places), network, tuple(gateways))


def _group(network: SplitNetwork, folder: Path) -> SentinelGroup:
    master = _node(network, MINORITY, folder / "d0", DATA)
    follow = DATA | {"replicaof": f"{master.host} {master.port}"}
    replica = _node(network, MAJORITY, folder / "d1", follow)
    config = sentinel_config(master)
    # The majority first: it is asked first who the master is.
    watchers = [
        _node(network, side, folder / f"s{n}", OPEN, config)
        for n, side in enumerate((MAJORITY, MAJORITY, MINORITY))
    ]
    return SentinelGroup([master, replica], RedisGroup(watchers))


def _node(
    network: SplitNetwork, side: int, path: Path, options: dict[str, str], config: str | None = None
) -> RedisNode:
    return RedisNode(
        path,
        binary=find_server_binary(),
        options=options,
        config=config,
        host=network.hosts[side],
        inside=network.insides[side],
    )
