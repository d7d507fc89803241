"""Install the peers, or those that are named: python -m benchmarks.systems.set_up [KEY …]."""

from __future__ import annotations

import sys

from benchmarks.systems.base import Unavailable
from benchmarks.systems.channels import Channels
from benchmarks.systems.nchan import Nchan
from benchmarks.systems.python_socketio import PythonSocketIo
from benchmarks.systems.socketio_node import SocketIoNode

PEERS = (SocketIoNode, Nchan, PythonSocketIo, Channels)


def main() -> None:
    """Set up what is not there yet, and say what can run."""
    keys = sys.argv[1:]
    for peer in (kind() for kind in PEERS):
        if keys and peer.key not in keys:
            continue
        try:
            if peer.why_unavailable() is not None:
                peer.set_up()
            print(f"{peer.name}: {peer.why_unavailable() or peer.versions()}")
        except Unavailable as missing:
            print(f"{peer.name}: {missing}")


if __name__ == "__main__":
    main()
