"""How clients come by what they do not hear: reads, comparisons, resuming elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import history, readers
from tests.model.servers import NAMES
from tests.model.state import (
    BEHIND,
    LOST,
    NO_REIGN,
    RESUMING,
    UP,
    Asked,
    Broken,
    Heard,
    Topic,
    World,
    put,
    spend,
    tried,
)
from tests.model.traffic import heard_by, reaches, routes, turn, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.rules import Rules


def answers(rules: Rules, world: World, gateway: int) -> Iterator[int]:
    """The servers that may answer a gateway's read."""
    masters = routes(world, gateway)
    for index, server in enumerate(world.servers):
        is_left_open = not server.is_master and server.reign != NO_REIGN
        can_answer = index in masters or (is_left_open and not rules.leaves_replicas)
        if can_answer and server.health == UP and reaches(world, gateway, index):
            yield index


def run_read_script(rules: Rules, world: World, gateway: int, server: int) -> World:
    """What the old rules write in a script that only reads."""
    log = world.servers[server].log
    if not rules.by_heard:
        return world
    fresh = f"fresh-{world.servers[server].reign}-{len(log)}"
    return write(world, server, history.begin_anew(log, heard_by(world, gateway), fresh))


def read(rules: Rules, world: World, index: int, server: int) -> World:
    """A reader that is behind asks memory, then a server, whose answer is then under way."""
    client = world.clients[index]
    if client.mode == BEHIND:
        served = readers.serve(client, readers.topic_of(world, client))
        if served is not None:
            return readers.with_client(world, index, served)
    world = run_read_script(rules, turn(world, server), client.at, server)
    heard_epoch = readers.topic_of(world, client).epoch
    is_lost = client.mode == LOST
    cursor = readers.NOWHERE if is_lost else Heard(client.epoch, client.offset)
    cut = history.read(rules, world.servers[server].log, cursor, heard_epoch)
    return readers.with_client(world, index, client._replace(cut=cut))


def take_cut(world: World, index: int) -> World:
    """The answer comes, if there is one to come."""
    return world if world.clients[index].cut is None else readers.take_cut(world, index)


def reads(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """A reader that must reads the log; the answer comes at once, or takes its time."""
    for index, client in enumerate(world.clients):
        if client.cut is not None:
            yield ("the read of client {} is answered", index), tried(take_cut, world, index)
        elif client.mode in {BEHIND, LOST, RESUMING}:
            for server in answers(rules, world, client.at):
                asked = tried(read, rules, world, index, server)
                if type(asked) is Broken:
                    yield ("client {} reads at {}", index, NAMES[server]), asked
                    continue
                yield ("client {} reads at {}", index, NAMES[server]), tried(take_cut, asked, index)
                if world.left.slow_reads and asked.clients[index].cut is not None:
                    what = ("client {} reads at {}, the answer is slow", index, NAMES[server])
                    yield what, spend(asked, slow_reads=1)


def ask(rules: Rules, world: World, gateway: int, server: int) -> World:
    """`Hub._compare_one`: ask where the log stands, and remember how far it was heard."""
    heard = readers.furthest(rules, world, gateway)
    world = run_read_script(rules, turn(world, server), gateway, server)
    found = history.position(world.servers[server].log)
    changed = world.gateways[gateway]._replace(asked=Asked(heard, found))
    return world._replace(gateways=put(world.gateways, gateway, changed))


def take_answer(rules: Rules, world: World, gateway: int) -> World:
    """The answer of a comparison is here."""
    heard, found = world.gateways[gateway].asked
    changed = world.gateways[gateway]._replace(asked=None)
    world = world._replace(gateways=put(world.gateways, gateway, changed))
    return readers.compared(rules, world, gateway, heard, found)


def comparisons(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """A topic is compared with its log: each 30 s, and after a subscription was rebuilt."""
    for gateway, one in enumerate(world.gateways):
        if one.topic is None:
            continue
        if one.asked is not None:
            what = ("gateway {} gets the answer to its comparison", gateway)
            yield what, tried(take_answer, rules, world, gateway)
            continue
        for server in answers(rules, world, gateway):
            asked, name = ask(rules, world, gateway, server), NAMES[server]
            what = ("gateway {} compares with {}", gateway, name)
            yield what, tried(take_answer, rules, asked, gateway)
            if world.left.slow_asks:
                what = ("gateway {} compares with {}, the answer is slow", gateway, name)
                yield what, spend(asked, slow_asks=1)


def moves(world: World) -> Iterator[tuple[tuple, World]]:
    """A client loses its socket and resumes at the other gateway, with its cursor."""
    if not world.left.moves:
        return
    for index, client in enumerate(world.clients):
        there = 1 - client.at
        moved = client._replace(at=there, mode=RESUMING, owed=0, cut=None)
        after = spend(readers.with_client(world, index, moved), moves=1)
        if world.gateways[there].topic is None:
            after = readers.with_topic(after, there, Topic("", 0, ()))
        yield ("client {} moves to gateway {}", index, there), after
