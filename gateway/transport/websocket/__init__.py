"""WebSockets of our own: handshake, frames, close."""
