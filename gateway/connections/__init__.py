"""The sockets of this process: opened, read in order, answered, ticked, drained."""
