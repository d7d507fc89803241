"""A request to its handler and its answer."""
