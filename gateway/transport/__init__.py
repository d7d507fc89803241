"""Where bytes come in: uvicorn's HTTP and WebSocket protocols with limits, and a server that stops.

`GatewayServer(uvicorn_config(app, settings), drain=…).run()` serves an application; in it,
`control_of(scope)` is what it may do to the connection below a WebSocket, and
`direct_control_of(scope)` how it hands one over to a `Receiver`.
"""

from gateway.transport.config import TransportConfig
from gateway.transport.control import (
    DirectControl,
    Receiver,
    TransportControl,
    control_of,
    direct_control_of,
)
from gateway.transport.server.server import GatewayServer
from gateway.transport.server.sockets import listening_sockets
from gateway.transport.serving import uvicorn_config

__all__ = [
    "DirectControl",
    "GatewayServer",
    "Receiver",
    "TransportConfig",
    "TransportControl",
    "control_of",
    "direct_control_of",
    "listening_sockets",
    "uvicorn_config",
]
