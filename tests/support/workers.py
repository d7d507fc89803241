"""`gateway worker` as a process, and a gateway that executes no runs."""

from __future__ import annotations

import signal
import subprocess
import sys

from gateway.store.embedded.die_with_parent import dying_with_us
from tests.support.gateways import ROOT, GatewayProcess


class ServingProcess(GatewayProcess):
    """`python -m gateway serve --no-worker`."""

    command: tuple[str, ...] = ("serve", "--no-worker")
    announcement = "listening on"

    def launch(self) -> None:
        """Start the process without waiting."""
        self._starts += 1
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                dying_with_us(
                    [sys.executable, "-m", "gateway", *self.command], signal_number=signal.SIGKILL
                ),
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def _is_listening(self) -> bool:
        if not self.is_running:
            raise AssertionError(f"it ended at its start:\n{self.logs}")
        return self._out.read_text().count(self.announcement) >= self._starts


class WorkerProcess(ServingProcess):
    """`python -m gateway worker`: claims runs from `start` on."""

    command = ("worker",)
    announcement = "working"
