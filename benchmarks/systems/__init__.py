"""The systems that are measured: the gateway, and its peers on the same work."""
