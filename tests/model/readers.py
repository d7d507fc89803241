"""Topics and readers: what topic.py, reader.py and subscriptions.py of gateway/fanout do; no I/O.

Names follow the code. What goes to a client is there at once: a client that is cut off earlier is
one that moved earlier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.state import (
    AHEAD,
    BEHIND,
    LIVE,
    LOST,
    RESUMING,
    Broken,
    Client,
    Cut,
    Event,
    Heard,
    Topic,
    World,
    put,
)

if TYPE_CHECKING:
    from tests.model.rules import Rules

NOWHERE = Heard("", -1)


def topic_of(world: World, client: Client) -> Topic:
    """The topic that a client's reader reads."""
    return world.gateways[client.at].topic


def with_topic(world: World, gateway: int, topic: Topic) -> World:
    """The world with another topic."""
    changed = world.gateways[gateway]._replace(topic=topic)
    return world._replace(gateways=put(world.gateways, gateway, changed))


def with_client(world: World, index: int, client: Client) -> World:
    """The world with another client."""
    return world._replace(clients=put(world.clients, index, client))


def readers(world: World, gateway: int) -> list[int]:
    """The clients whose readers belong to a gateway's topic; one that resumes is none yet."""
    clients = enumerate(world.clients)
    return [i for i, client in clients if client.at == gateway and client.mode != RESUMING]


def give(client: Client, event: Event) -> Client:
    """An `event` push, after an `epoch_changed` where its epoch is another.

    Raises:
        Broken: it is not the next one, or the client was given it before.
    """
    if event.offset != client.offset + 1:
        raise Broken(f"a client at {client.offset} was given the event at {event.offset}")
    if event.letter in client.holds:
        raise Broken(f"a client was given {event.letter} twice")
    owed = 0 if event.offset >= client.owed else client.owed
    return client._replace(
        holds=client.holds + event.letter, epoch=event.epoch, offset=event.offset, owed=owed
    )


def give_snapshot(world: World, client: Client, cut: Cut) -> Client:
    """A `snapshot` push: it replaces what the client held.

    Raises:
        Broken: there was no reason for one.
    """
    if world.is_orderly:
        raise Broken("a client was given a snapshot, though nothing was lost")
    return client._replace(holds=cut.snapshot, epoch=cut.epoch, offset=cut.offset, owed=0)


def serve(client: Client, topic: Topic) -> Client | None:
    """`_serve_from_memory`: give what memory has and go live; None if the log must be read."""
    if client.mode == LOST or topic.epoch != client.epoch:
        return None
    missing = max(0, topic.offset - client.offset)
    if client.offset + missing < client.owed or missing > len(topic.memory):
        return None
    for event in topic.memory[len(topic.memory) - missing :]:
        client = give(client, event)
    return client._replace(mode=AHEAD if client.offset > topic.offset else LIVE)


def restart(world: World, gateway: int, position: Heard) -> World:
    """`Topic._restart`: forget all, stand there; the readers fall behind from where they stand."""
    topic = Topic(*position, ())
    world = with_topic(world, gateway, topic)
    for index in readers(world, gateway):
        client = world.clients[index]
        if client.mode in {LIVE, AHEAD}:
            behind = client._replace(mode=BEHIND)
            world = with_client(world, index, serve(behind, topic) or behind)
    return world


def stand_at(world: World, gateway: int, position: Heard) -> World:
    """`Topic.stand_at`: learn where the log stands."""
    topic = world.gateways[gateway].topic
    if not topic.epoch:
        return with_topic(world, gateway, Topic(*position, ()))
    if position.epoch == topic.epoch and position.offset <= topic.offset:
        return world
    return restart(world, gateway, position)


def hear(rules: Rules, world: World, gateway: int, event: Event) -> World:
    """`Hub._hear`, then `Topic.hear`: a pub/sub message."""
    if not event.letter:
        return stand_at(world, gateway, Heard(event.epoch, 0))  # "r:", of the old rules
    topic = world.gateways[gateway].topic
    before = Heard(event.epoch, event.offset - 1)
    if not topic.epoch:
        topic = Topic(*before, ())
        world = with_topic(world, gateway, topic)
    is_next = event.offset == topic.offset + 1
    if topic.epoch != event.epoch:
        if rules.rejudges or not is_next:
            world = restart(world, gateway, before)
    elif event.offset <= topic.offset:
        return world  # heard before
    elif not is_next:
        world = restart(world, gateway, before)
    return _deliver(world, gateway, event)


def _deliver(world: World, gateway: int, event: Event) -> World:
    """`Topic._deliver_one`: to memory, to live readers, and to those ahead that it reaches."""
    memory = world.gateways[gateway].topic.memory
    if memory and memory[-1].epoch != event.epoch:
        memory = ()
    world = with_topic(world, gateway, Topic(event.epoch, event.offset, (*memory, event)))
    for index in readers(world, gateway):
        client = world.clients[index]
        if client.mode == LIVE:
            world = with_client(world, index, give(client, event))
        elif client.mode == AHEAD:
            world = with_client(world, index, _take_rest(world, client, event))
    return world


def _take_rest(world: World, client: Client, event: Event) -> Client:
    """`Reader.take_rest`."""
    if event.epoch != client.epoch:
        behind = client._replace(mode=BEHIND)
        return serve(behind, topic_of(world, client)) or behind
    if event.offset < client.offset:
        return client
    client = client._replace(mode=LIVE)
    return give(client, event) if event.offset > client.offset else client


def furthest(rules: Rules, world: World, gateway: int) -> Heard:
    """How far this gateway has heard, or its readers have read: what a comparison compares with."""
    topic = world.gateways[gateway].topic
    offsets = [topic.offset]
    if rules.counts_readers:
        clients = [world.clients[index] for index in readers(world, gateway)]
        offsets += [client.offset for client in clients if client.epoch == topic.epoch]
    return Heard(topic.epoch, max(offsets))


def compared(rules: Rules, world: World, gateway: int, heard: Heard, found: Heard) -> World:
    """`Hub._compare_one`, once the answer is here: `heard` is how far it had heard before."""
    topic = world.gateways[gateway].topic
    if not rules.asks_before:
        heard = furthest(rules, world, gateway)
    is_same = topic.epoch == found.epoch
    if not rules.compares_epochs:
        is_same, found = True, Heard(topic.epoch or found.epoch, found.offset)
    if rules.heeds_less and is_same and heard.epoch == found.epoch and found.offset < heard.offset:
        return _less(rules, world, gateway, found)
    return stand_at(world, gateway, found)


def _less(rules: Rules, world: World, gateway: int, found: Heard) -> World:
    """The log holds less than was heard: readers beyond its end have seen what is gone."""
    if rules.tells_readers:
        for index in readers(world, gateway):
            client = world.clients[index]
            if client.epoch == found.epoch and client.offset > found.offset:
                world = with_client(world, index, client._replace(mode=LOST))
    return restart(world, gateway, found)


def take_cut(world: World, index: int) -> World:
    """The answer of a read is here: `_serve_from_log`, or `deliver_at_once` for who resumes."""
    client = world.clients[index]
    cut, is_first = client.cut, client.mode == RESUMING
    client = client._replace(cut=None, mode=BEHIND, owed=cut.offset if is_first else client.owed)
    if is_first and not topic_of(world, client).epoch:
        world = stand_at(world, client.at, Heard(cut.epoch, cut.offset))
    if cut.snapshot is not None:
        client = give_snapshot(world, client, cut)
    served = serve(client, topic_of(world, client)) if is_first else None
    if served is not None:
        return with_client(world, index, served)
    for event in cut.events:
        if event.offset == client.offset + 1:  # `_deliver_slowly` judges each
            client = give(client, event)
    client = client._replace(owed=min(client.owed, cut.offset))
    world = with_client(world, index, client)
    topic = topic_of(world, client)
    if not is_first and topic.epoch == cut.heard_epoch != cut.epoch:
        world = stand_at(world, client.at, Heard(cut.epoch, cut.offset))
    return with_client(world, index, serve(client, topic_of(world, client)) or client)
