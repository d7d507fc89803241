"""What the tests stand on: real servers, a faulty network, and a client that knows one page."""
