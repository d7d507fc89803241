"""One load generator for all systems: raw sockets on epoll, markers found in unparsed bytes."""
