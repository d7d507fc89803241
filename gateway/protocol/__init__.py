"""The wire, docs/protocol.md as code: messages, events, codecs, states. No I/O, no clock."""
