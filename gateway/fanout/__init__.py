"""From the log to all who listen: hub, topics, readers, and the subscriptions of a socket."""
