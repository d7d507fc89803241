"""Tests that try to break durable runs: at real clients, over real sockets, with real processes."""
