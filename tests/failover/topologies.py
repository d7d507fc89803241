"""What a scenario stands on: Redis servers of a kind, and two gateways before them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.eventually import eventually
from tests.support.gateways import InProcessGateway
from tests.support.ports import HOST
from tests.support.redis_servers import ClusterGroup, cluster, sentinels, standalone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from tests.failover.plan import Plan
    from tests.support.gateways import GatewayProcess
    from tests.support.redis_node import RedisNode
    from tests.support.split_network import SplitNetwork

FAILOVER_S = 40.0  # Sentinel and Cluster need 2 to 5 s here; a busy machine more
REPLICAS = {"sentinel": 1, "sentinel-2": 2}
# A lease is short, so that a run whose gateway lost sight of Redis goes on within the scenario.
SETTINGS: dict[str, Any] = {"run_lease_s": 3, "log_level": "error"}


@dataclass(frozen=True)
class Place:
    """Where clients dial."""

    host: str
    port: int


@dataclass
class Ground:
    """Servers and gateways.

    Attributes:
        servers: a `SentinelGroup`, a `ClusterGroup`, or one `RedisNode`.
        places: the gateways.
        network: of two sides, one a gateway; None if all share ours.
        processes: the gateways that are not in this process.
    """

    servers: Any
    places: tuple[Place, ...]
    network: SplitNetwork | None = None
    processes: tuple[GatewayProcess, ...] = ()

    async def master(self, room: str) -> RedisNode:
        """Return the server that takes writes for a conversation, as the others see it."""
        if isinstance(self.servers, ClusterGroup):
            return await self.servers.node_for_key(await self.key(room))
        return await self.servers.master() if hasattr(self.servers, "master") else self.servers

    async def key(self, room: str) -> str:
        """Return the name of the conversation's hash."""
        for node in self.servers.nodes:
            if node.can_answer:
                for key in await node.call("KEYS", f"*:c:{room}"):
                    return key
        raise AssertionError(f"no node holds {room}")

    async def replicas(self, master: RedisNode) -> list[RedisNode]:
        """Return the replicas in touch with a master."""
        told = await master.info("replication")
        fields = [told[name] for name in told if name.startswith("slave") and "port=" in told[name]]
        ports = [int(field.partition("port=")[2].partition(",")[0]) for field in fields]
        return [self.servers.node_at(port) for port in ports]

    async def replaced(self, room: str, old: RedisNode) -> RedisNode:
        """Wait until another server than `old` takes writes; return it."""

        async def other() -> RedisNode | None:
            now = await self.master(room)
            return None if now is old else now

        found = await eventually(other, what=f"{old} is replaced", within_s=FAILOVER_S)
        assert found is not None
        return found

    @property
    def logs(self) -> dict[str, str]:
        """What the servers, their sentinels and gateways in processes have printed."""
        nodes = list(getattr(self.servers, "nodes", [self.servers]))
        nodes += self.servers.sentinels.nodes if self._is_watched else []
        printed = {repr(node): node.log_path.read_text(errors="replace") for node in nodes}
        return printed | {f"gateway {gateway.port}": gateway.logs for gateway in self.processes}

    @property
    def _is_watched(self) -> bool:
        return hasattr(self.servers, "sentinels")

    async def settle(self) -> None:
        """Wait until all servers are up and in step, as far as there are several."""
        if hasattr(self.servers, "is_settled"):
            await eventually(self.servers.is_settled, what="servers settle", within_s=FAILOVER_S)


def servers_of(topology: str) -> AbstractAsyncContextManager[Any]:
    """Return an opener of the servers of a topology."""
    if topology == "standalone":
        return standalone()
    if topology == "cluster":
        return cluster()
    return sentinels(replicas=REPLICAS[topology])


@asynccontextmanager
async def grounds(plan: Plan, data_dir: str) -> AsyncIterator[Ground]:
    """Yield the servers of a plan with two gateways in this process."""
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(servers_of(plan.topology))
        given = {"redis_url": servers.url, "durability": plan.durability, "data_dir": data_dir}
        places = []
        for patience_s in plan.kind.patience_s:
            gateway = InProcessGateway(**SETTINGS, **given, redis_timeout_s=patience_s)
            await stack.enter_async_context(gateway)
            places.append(Place(HOST, gateway.port))
        yield Ground(servers, tuple(places))
