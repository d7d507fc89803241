"""Tests that try to break the gateway's promises, at real clients over real sockets."""
