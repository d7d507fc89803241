"""RFC 6455 as Autobahn|Testsuite reads it: its fuzzing client against our WebSocket protocol."""
