"""Redis as the store uses it: URLs, topologies, links, scripts, pub/sub."""
