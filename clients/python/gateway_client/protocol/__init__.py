"""The wire: messages, requests, replies, and their codec. No I/O."""
