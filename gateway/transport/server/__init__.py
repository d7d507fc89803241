"""The server: starts with clear errors, drains, and always ends."""
