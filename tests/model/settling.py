"""What must be true once nothing more goes wrong.

From any state: what is under way gets lost, the network is whole, the master that was elected is
followed by the other server. Then each topic is compared, readers read, and one more message is
published. The clients must hold the surviving history, each message once.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from tests.model import history, readers, reading, traffic
from tests.model.servers import NAMES
from tests.model.state import AHEAD, LIVE, UP, Broken, Left

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.model.rules import Rules
    from tests.model.state import World

_READS = 4  # of one reader in a row, at most
_ROUNDS = 2  # of comparisons
MORE = "z"  # the message at the end


def calm(world: World) -> World | None:
    """The world in which nothing more goes wrong; None while no master is there.

    Raises:
        Broken: an acknowledged message is gone.
    """
    master = world.servers[world.elected]
    if master.health != UP:
        return None
    gone = world.acknowledged - set(history.letters(master.log))
    if gone:
        raise Broken(f"{min(gone)} was acknowledged and is gone")
    replica = master._replace(is_master=False, is_synced=True)
    return world._replace(
        servers=(master, replica) if world.elected == 0 else (replica, master),
        is_split=False,
        flights=(),
        queues=((), (), (), ()),
        gateways=tuple(one._replace(stamps=(None, None), asked=None) for one in world.gateways),
        clients=tuple(client._replace(cut=None) for client in world.clients),
        calls=(),
        acknowledged=frozenset(),
        left=Left(),
    )


def settle(rules: Rules, world: World, tell: Callable[[str], object]) -> World:
    """Let a calm world come to rest and see what clients hold.

    Raises:
        Broken: a client does not hold what the history is.
    """
    for _ in range(_ROUNDS):
        world = _compare(rules, world, tell)
    _check(world)
    server = world.servers[world.elected]
    added = history.append(rules, server, MORE, traffic.NOTHING_HEARD if rules.by_heard else None)
    tell(f"{NAMES[world.elected]} appends one more, {MORE}, and every gateway hears it")
    world = traffic.write(world, world.elected, added)
    for gateway, one in enumerate(world.gateways):
        for event in added if one.topic is not None else ():
            world = readers.hear(rules, world, gateway, event)
    world = _read(rules, world, tell)
    _check(world)
    return world


def _compare(rules: Rules, world: World, tell: Callable[[str], object]) -> World:
    for gateway, one in enumerate(world.gateways):
        if one.topic is not None:
            tell(f"gateway {gateway} compares with {NAMES[world.elected]}")
            world = reading.ask(rules, world, gateway, world.elected)
            world = reading.take_answer(rules, world, gateway)
            world = _hear_anew(rules, world)
            world = _read(rules, world, tell)
    return world


def _hear_anew(rules: Rules, world: World) -> World:
    """Every gateway hears what a script of the old rules published."""
    queues, world = world.queues, world._replace(queues=((), (), (), ()))
    for number, queue in enumerate(queues):
        for event in queue:
            world = readers.hear(rules, world, number % 2, event)
    return world


def _read(rules: Rules, world: World, tell: Callable[[str], object]) -> World:
    for index in range(len(world.clients)):
        for _ in range(_READS):
            if world.clients[index].mode in {LIVE, AHEAD}:
                break
            tell(f"client {index} reads at {NAMES[world.elected]}")
            world = reading.read(rules, world, index, world.elected)
            world = _hear_anew(rules, reading.take_cut(world, index))
    return world


def _check(world: World) -> None:
    truth = history.letters(world.servers[world.elected].log)
    for index, client in enumerate(world.clients):
        if client.mode not in {LIVE, AHEAD}:
            raise Broken(f"client {index} reads for ever")
        if client.holds != truth:
            raise Broken(f"client {index} silently holds {client.holds}, the history is {truth}")


def check_names(world: World) -> None:
    """See that an epoch and an offset name one event, wherever it is.

    Raises:
        Broken: two events have one name.
    """
    logs = [server.log for server in world.servers]
    memories = [one.topic.memory for one in world.gateways if one.topic is not None]
    named: dict[tuple[str, int], str] = {}
    for event in chain(*logs, *world.queues, *memories):
        if named.setdefault(event[:2], event.letter) != event.letter:
            raise Broken(f"two events are called {event.epoch}:{event.offset}")
