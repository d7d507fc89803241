"""What happens to the servers, and what it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import history
from tests.model.state import DEAD, HUNG, UP, Server, World, put, spend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.rules import Rules

NAMES = "AB"


def with_server(world: World, index: int, **changes: object) -> World:
    """The world with one server changed."""
    server = world.servers[index]._replace(**changes)
    return world._replace(servers=put(world.servers, index, server))


def can_replicate(world: World, source: int) -> bool:
    """Whether a server's stream reaches the other one, which follows it."""
    master, replica = world.servers[source], world.servers[1 - source]
    return (
        not world.is_split
        and master.is_master
        and master.health == replica.health == UP
        and not replica.is_master
        and replica.is_synced
    )


def steps(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """All that may happen to servers next: what to call it, and the world after it."""
    yield from _replication(world)
    yield from _faults(world)
    yield from _promotions(rules, world)
    yield from _demotions(world)


def _replication(world: World) -> Iterator[tuple[tuple, World]]:
    """One entry arrives at the replica. Under `replicated` that is what WAIT waits for."""
    for source in (0, 1):
        log, copy = world.servers[source].log, world.servers[1 - source].log
        if can_replicate(world, source) and len(copy) < len(log):
            event = log[len(copy)]
            after = with_server(world, 1 - source, log=(*copy, event))
            told = event.letter or "the new epoch"
            yield ("{} replicates {}", NAMES[source], told), acknowledge(after, event.letter)


def acknowledge(world: World, letter: str) -> World:
    """A client is told that its message is durable.

    What both servers hold cannot be lost and is not remembered: each only appends, or takes what
    the other one has.
    """
    acknowledged = world.acknowledged | set(letter)
    both = [set(history.letters(server.log)) for server in world.servers]
    return world._replace(acknowledged=frozenset(acknowledged - (both[0] & both[1])))


def _faults(world: World) -> Iterator[tuple[tuple, World]]:
    master, left = world.elected, world.left
    name, server = NAMES[master], world.servers[master]
    if server.health == UP and left.hangs:
        yield ("{} hangs", name), spend(with_server(world, master, health=HUNG), hangs=1)
    if server.health == UP and left.kills:
        yield ("{} is killed", name), spend(_dead(world, master), kills=1)
    if left.splits and master == 0 and server.health == UP and not world.is_split:
        yield (
            ("the network splits: A and gateway 0, B and gateway 1",),
            spend(world._replace(is_split=True), splits=1),
        )
    if world.is_split:
        yield ("the network is whole again",), world._replace(is_split=False)
    for index, one in enumerate(world.servers):
        if one.health == HUNG:
            yield ("{} wakes", NAMES[index]), with_server(world, index, health=UP)
    yield from _restarts(world)


def _dead(world: World, index: int) -> World:
    """A server is gone: what lay in its sockets is gone, and its links with their stamps."""
    flights = tuple(one for one in world.flights if one.server != index)
    world = with_server(world, index, health=DEAD)._replace(flights=flights)
    return _forget_stamps(world, index, is_closed=True)


def _forget_stamps(world: World, index: int, *, is_closed: bool) -> World:
    """Stamps of one server are too old, or their links are closed."""

    def kept(stamp):
        return None if getattr(stamp, "server", None) == index else stamp

    gateways = tuple(
        one._replace(stamps=tuple(kept(stamp) for stamp in one.stamps)) for one in world.gateways
    )
    world = world._replace(gateways=gateways)
    if is_closed:
        return world
    return world._replace(
        flights=tuple(one._replace(packed=kept(one.packed)) for one in world.flights),
        calls=tuple(one._replace(packed=kept(one.packed)) for one in world.calls),
    )


def _restarts(world: World) -> Iterator[tuple[tuple, World]]:
    """A master comes back, the newest of its log lost with it: another run id, another reign."""
    index, replica = world.elected, 1 - world.elected
    server, other = world.servers[index], world.servers[replica]
    is_followed = other.health == UP and not other.is_master and not world.is_split
    if not world.left.restarts or not is_followed or server.health == HUNG:
        return
    for kept in range(1, len(server.log)):
        log, reign = server.log[:kept], f"{NAMES[index]}{world.reigns + 1}"
        after = with_server(_dead(world, index), index, health=UP, reign=reign, log=log)
        after = with_server(after, replica, log=log, is_synced=True)
        yield (
            ("{} restarts with only {} of its log; {} follows", NAMES[index], kept, NAMES[replica]),
            spend(after._replace(reigns=world.reigns + 1, is_orderly=False), restarts=1),
        )


def _promotions(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """The replica is promoted: because its master cannot be reached, or because somebody asks."""
    old, new = world.elected, 1 - world.elected
    server, replica = world.servers[old], world.servers[new]
    if replica.health != UP or replica.is_master or not replica.is_synced:
        return
    name, has_all = NAMES[new], replica.log == server.log
    if world.left.promotions and (server.health != UP or world.is_split or world.left.abandoned):
        after = _promote(rules, world, new)._replace(is_orderly=world.is_orderly and has_all)
        yield ("{} is promoted", name), spend(after, promotions=1)
    if world.left.planned and server.health == UP and has_all and not world.is_split:
        after = with_server(_promote(rules, world, new), old, is_master=False, is_synced=True)
        yield ("{} takes over as planned", name), spend(after, planned=1)


def _promote(rules: Rules, world: World, index: int) -> World:
    """REPLICAOF NO ONE: another replication id, and so another reign.

    A stamp of this server that was looked up in an earlier reign of its is too old by now: it
    cannot have been demoted, resynchronised and promoted within the 100 ms that a stamp is good.
    """
    reign = f"{NAMES[index]}{world.reigns + 1}"
    world = with_server(world, index, is_master=True, reign=reign, is_synced=False)
    world = world._replace(reigns=world.reigns + 1, elected=index)
    return _forget_stamps(world, index, is_closed=False) if rules.is_bounded else world


def _demotions(world: World) -> Iterator[tuple[tuple, World]]:
    """A server that was replaced learns it, throws its data away and takes the master's.

    Links to one that was alive stay open (a cluster closes none), those to a dead one are closed.
    """
    new, old = world.elected, 1 - world.elected
    master, server = world.servers[new], world.servers[old]
    if world.is_split or master.health != UP or server.health == HUNG:
        return
    is_follower = not server.is_master and server.is_synced and server.health == UP
    if not is_follower:
        log = master.log
        after = with_server(world, old, health=UP, is_master=False, is_synced=True, log=log)
        kind = "comes back and" if server.health == DEAD else "learns it was replaced and"
        yield ("{} {} follows {}", NAMES[old], kind, NAMES[new]), after
    if world.left.abandoned and server.health == UP and server.is_master:
        yield _abandoned(world, new, server)


def _abandoned(world: World, index: int, stays: Server) -> tuple[tuple, World]:
    """A failover is taken back (Sentinel's +convert-to-slave): the old master rules on."""
    after = with_server(world, index, is_master=False, is_synced=True, log=stays.log)
    after = after._replace(elected=1 - index, is_orderly=False)
    return ("the failover is taken back: {} follows", NAMES[index]), spend(after, abandoned=1)
