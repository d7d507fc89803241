"""A server that does nothing but write finished frames: what the generator can take at most.

    python -m benchmarks.generator.blast PORT RECEIVERS

It waits for so many connections, upgrades each, and writes to all of them, 64 messages a write,
for ever. A message looks like one of the gateway's events.
"""

from __future__ import annotations

import socket
import sys

from benchmarks.generator import marker as markers

MESSAGES_A_WRITE = 64
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
EVENT = (
    b'{"type":"event","conversation_id":"room-0000","epoch":"Yv7zZ3tO","offset":100,"event":'
    b'{"type":"MESSAGE_CREATED","message":{"message_id":"m_4cHj1M8JGQ5me6itbiJqmg","seq":3,'
    b'"role":"user","author":"u000001","content":"%b","created_at":1795248686.327}}}'
)


def main() -> None:
    """Serve."""
    port, receivers = int(sys.argv[1]), int(sys.argv[2])
    with socket.create_server(("127.0.0.1", port), backlog=receivers) as server:
        connections = [_accepted(server) for _ in range(receivers)]
    sequence, filler = 0, markers.filler(200)
    while True:
        now_us = markers.now_us()
        block = b"".join(_frame(sequence + n, now_us, filler) for n in range(MESSAGES_A_WRITE))
        sequence += MESSAGES_A_WRITE
        for connection in connections:
            connection.sendall(block)


def _accepted(server: socket.socket) -> socket.socket:
    connection, _ = server.accept()
    while b"\r\n\r\n" not in connection.recv(65_536, socket.MSG_PEEK):
        pass
    connection.recv(65_536)
    connection.sendall(UPGRADED)
    return connection


def _frame(sequence: int, now_us: int, filler: bytes) -> bytes:
    name = markers.identifier(0, 0, sequence)
    payload = EVENT % markers.text(name, now_us, filler)
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


if __name__ == "__main__":
    main()
