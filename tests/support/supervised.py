"""`gateway serve --workers N` as a process, and the replicas below it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from gateway.store.embedded.die_with_parent import dying_with_us
from tests.support.eventually import eventually
from tests.support.gateways import ROOT, START_S, GatewayProcess
from tests.support.tokens import SECRET

if TYPE_CHECKING:
    from tests.support.dialling import Dialler
    from tests.support.wire import WireClient

MAX_DIALS = 60  # that all of them meet the same one of two replicas: 2 ** -59
SHARED_SOCKETS = """
import sys
from gateway.cli.serve import supervisor
from gateway.cli.main import main

supervisor.BALANCES_PORT = False
sys.exit(main(["serve"]))
"""


class SupervisedGateway(GatewayProcess):
    """A gateway of several replicas; `pid` is the supervisor's."""

    words: tuple[str, ...] = ("-m", "gateway", "serve")

    def launch(self) -> None:
        """Start the process without waiting."""
        self._starts += 1
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                dying_with_us([sys.executable, *self.words], signal_number=signal.SIGKILL),
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def replicas(self) -> dict[int, psutil.Process]:
        """Return the replicas that live, by their process ids."""
        if not self.is_running:
            return {}
        return {
            child.pid: child
            for child in psutil.Process(self.pid).children()
            if "gateway.cli.serve.replica" in _words(child)
        }

    def replica_of(self, client: WireClient) -> int | None:
        """Return the process id of the replica that serves a client."""
        for pid, replica in self.replicas().items():
            ports = {each.raddr.port for each in replica.net_connections("tcp") if each.raddr}
            if client.local_port in ports:
                return pid
        return None

    async def start(self) -> None:
        """Start, and wait until connections are accepted: one replica first, then the others."""
        self.launch()
        await eventually(self._is_listening, what=f"a gateway on {self.port}", within_s=2 * START_S)

    async def client_at_each(self, dial: Dialler) -> dict[int, WireClient]:
        """Dial until every replica serves a client; return one of each, connected."""
        found: dict[int, WireClient] = {}
        for number in range(MAX_DIALS):
            client = await dial(self, f"person{number}")
            pid = await eventually(lambda c=client: self.replica_of(c), what="whose it is")
            if pid in found:
                await client.close()
            else:
                await client.connect()
                found[pid] = client
            if found.keys() == self.replicas().keys():
                return found
        raise AssertionError(f"{MAX_DIALS} clients met {len(found)} of {len(self.replicas())}")

    async def replaced(self, killed: set[int], *, count: int) -> None:
        """Wait until so many replicas live, none of them one of the killed, and all listen."""

        def is_so() -> bool:
            replicas = self.replicas()
            return (
                len(replicas) == count
                and not replicas.keys() & killed
                and all(_listens(replica) for replica in replicas.values())
            )

        await eventually(is_so, what="the replicas are replaced", within_s=30)


class SharedSocketGateway(SupervisedGateway):
    """Its replicas accept from one socket, as where SO_REUSEPORT does not balance."""

    words = ("-c", SHARED_SOCKETS)


def refused(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `gateway serve` with settings that it refuses, to its end."""
    command = [sys.executable, "-m", "gateway", "serve", *words]
    chosen = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_LOG_FORMAT": "json"} | environment
    return subprocess.run(
        command, cwd=ROOT, env=chosen, capture_output=True, text=True, timeout=60, check=False
    )


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _listens(process: psutil.Process) -> bool:
    try:
        return any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))
    except psutil.Error:
        return False
