"""Where bytes come in: uvicorn's HTTP and WebSocket protocols with limits, and a server that stops.

`GatewayServer(uvicorn_config(app, settings), drain=…).run()` serves an application; in it,
`control_of(scope)` is what it may do to the connection below a WebSocket.
"""

from gateway.transport.config import TransportConfig, uvicorn_config
from gateway.transport.control import TransportControl, control_of
from gateway.transport.server import GatewayServer
from gateway.transport.sockets import listening_sockets

__all__ = [
    "GatewayServer",
    "TransportConfig",
    "TransportControl",
    "control_of",
    "listening_sockets",
    "uvicorn_config",
]
