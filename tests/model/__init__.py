"""A model of the log, small enough to be searched to its end: every order of what can happen.

Two servers with asynchronous replication, two gateways, one conversation, one or two clients. What
may happen is a list of actions, each of which says what it stands for in the gateway or in Redis.
A search tries all of them in every state, breadth first, so that what it finds is a shortest trace.
In every state it asks: if nothing more went wrong, would each client be given the right stream?

- `rules`: what may be changed: today's rules, those before, and mutations that must be caught
- `state`: what a state of the world is made of
- `history`: what the scripts do to a server's data
- `readers`: topics and readers, as in gateway/fanout/topic.py, reader.py and subscriptions.py
- `servers`: what happens to servers: replication, hanging, death, promotion, demotion
- `traffic`: appends and their retries, and what is heard of them
- `reading`: reads, comparisons, clients that resume elsewhere
- `world`: which actions are possible in a state
- `settling`: what must be true once nothing more goes wrong
- `search`, `trace`, `scenarios`: how it is searched, told, and bounded

What is left out: more than two servers (WAIT waits for the one replica); the limits of the log, of
`epochs` and of pages; time, but for what it bounds: a stamp is not good for as long as a server
needs to be demoted, resynchronised and promoted.

`python -m tests.model --help` runs it by hand.
"""
