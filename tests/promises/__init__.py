"""What the gateway promises, at real clients, over real sockets, against a real Redis."""
