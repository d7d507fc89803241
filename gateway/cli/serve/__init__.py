"""`gateway serve`: the gateway, as one process or as many."""
