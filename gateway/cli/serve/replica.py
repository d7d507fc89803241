"""One of the processes of `gateway serve --workers N`.

It is started as `python -m gateway.cli.serve.replica CHANNEL`. CHANNEL is the
descriptor of a socket to the supervisor; its orders are read from stdin.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, cast

import msgspec

from gateway.cli.exit_codes import EXIT_BAD_SETTING
from gateway.cli.serve.orders import Orders
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from uvicorn._types import ASGIApplication


def main() -> int:
    """Serve until the supervisor, or a signal, says stop.

    Returns:
        As of `gateway serve`.
    """
    channel = _inherited(int(sys.argv[1]))
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    try:
        _serve(orders, channel)
    except GatewayError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return EXIT_BAD_SETTING
    return 0


def _serve(orders: Orders, channel: socket.socket) -> None:
    import structlog  # by now the supervisor can say stop

    from gateway.app import create_app
    from gateway.telemetry.logs import configure_logging
    from gateway.transport import listening_sockets, uvicorn_config
    from gateway.transport.server.supervised import SupervisedServer

    settings = orders.settings
    configure_logging(settings)
    structlog.contextvars.bind_contextvars(pid=os.getpid())  # several write to one stderr
    app = create_app(settings, has_worker=orders.has_worker)
    config = uvicorn_config(cast("ASGIApplication", app), settings)
    sockets = [_inherited(number) for number in orders.listeners]
    server = SupervisedServer(config, channel=channel, drain=app.drain)
    server.run(sockets or listening_sockets(settings, share_port=True))


def _inherited(descriptor: int) -> socket.socket:
    """Take a socket over, so that no program that is started from here gets it as well."""
    taken = socket.socket(fileno=descriptor)
    taken.set_inheritable(False)
    return taken


if __name__ == "__main__":
    sys.exit(main())
