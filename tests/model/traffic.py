"""What gateways and clients do: appends and their retries, pub/sub, reads, comparisons, moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model import history, readers
from tests.model.servers import NAMES, acknowledge, can_replicate, with_server
from tests.model.state import (
    DEAD,
    HUNG,
    UP,
    Call,
    Event,
    Flight,
    Heard,
    Stamp,
    World,
    put,
    spend,
    tried,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.rules import Rules
    from tests.model.state import Events

NOTHING_HEARD = Heard("", 0)
NEVER_AGAIN = Call(0, "", None)  # a call when no retry is left
LETTERS = "abcdefgh"  # `a` is there from the beginning


def reaches(world: World, gateway: int, server: int) -> bool:
    """Whether packets get from a gateway to a server."""
    return not world.is_split or gateway == server


def routes(world: World, gateway: int) -> list[int]:
    """Where a gateway may turn: to any server that takes itself for a master.

    Which one it takes depends on its last error, on whom it asked, and how late that one knew. Here
    it may be either at any time, which is more than can happen, but where `turns_back` says that
    each follows the failover at once. A call to a replica is refused and
    comes to nothing, one to a dead server fails.
    """
    return [
        index
        for index, server in enumerate(world.servers)
        if server.is_master
        and server.health != DEAD
        and reaches(world, gateway, index)
        and (world.turns_back or index == world.elected)
    ]


def turn(world: World, server: int) -> World:
    """A gateway uses a server. An answer of one that was replaced is no orderly failover's."""
    is_fit = server == world.elected or not world.servers[server].is_master
    return world if is_fit else world._replace(is_orderly=False)


def heard_by(world: World, gateway: int) -> Heard:
    """`Hub.heard`."""
    topic = world.gateways[gateway].topic
    return NOTHING_HEARD if topic is None else Heard(topic.epoch, topic.offset)


# Appends


def sends(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """A client of some gateway sends a message; or a call without an answer is tried again."""
    if world.left.sends:
        letter = LETTERS[len(world.calls) + 1]
        for gateway in world.writers:
            for server in routes(world, gateway):
                before = turn(spend(world, sends=1), server)
                yield from _try(rules, before, gateway, server, letter)
    if world.left.retries:
        for number, call in enumerate(world.calls):
            yield from _retry(rules, world, LETTERS[number + 1], call)


def _retry(rules: Rules, world: World, letter: str, call: Call) -> Iterator[tuple[tuple, World]]:
    """Another try. One at the same master is told by its id, or finds that it was the first."""
    for server in routes(world, call.gateway):
        one = world.servers[server]
        is_known_there = rules.is_idempotent and rules.writes_when_known
        if one.reign == call.tried and is_known_there:
            continue
        before = turn(spend(world, retries=1), server)
        yield from _try(rules, before, call.gateway, server, letter)


def _try(
    rules: Rules, world: World, gateway: int, server: int, letter: str
) -> Iterator[tuple[tuple, World]]:
    """Write a call to a link: it is carried out at once, or later, or when the server wakes."""
    world = _look(rules, world, gateway, server)
    verb = "sends again" if LETTERS.index(letter) <= len(world.calls) else "sends"
    who, names = "gateway {} {} {} to {}", (gateway, verb, letter, NAMES[server])
    world, flight = _call(rules, world, gateway, server, letter)
    is_up = world.servers[server].health == UP
    if is_up:
        after, told = _carry_out(rules, world, flight)
        yield (f"{who}: {told}", *names), after
    if not is_up or world.left.delays:
        world = spend(world, delays=1) if is_up else world
        flights = (*world.flights, flight)
        yield (f"{who}, which does not read it yet", *names), world._replace(flights=flights)


def _call(
    rules: Rules, world: World, gateway: int, server: int, letter: str
) -> tuple[World, Flight]:
    """Pack a call, and remember that it was tried, if it may be tried again."""
    number, calls = LETTERS.index(letter) - 1, world.calls
    is_again = number < len(calls)
    packed = calls[number].packed if is_again and rules.packed_once else None
    if packed is None:
        packed = _pack(rules, world, gateway, server)
    call = Call(gateway, world.servers[server].reign, packed if rules.packed_once else None)
    calls = put(calls, number, call) if is_again else (*calls, call)
    calls = calls if world.left.retries else (NEVER_AGAIN,) * len(calls)
    return world._replace(calls=calls), Flight(gateway, server, letter, packed)


def _look(rules: Rules, world: World, gateway: int, server: int) -> World:
    """A link in use looks at its server every 50 ms, if that answers.

    By the rules a stamp in force names its server's present reign, and with one that is not in
    force the script asks its server: both come to the same, so that no stamp is kept then.
    """
    one = world.servers[server]
    if one.health != UP or not rules.are_stamps_of_interest:
        return world
    gate = world.gateways[gateway]
    if gate.stamps[server] is not None and not rules.is_bounded:
        return world  # looked at once, when the link was opened
    gate = gate._replace(stamps=put(gate.stamps, server, Stamp(server, one.reign)))
    return world._replace(gateways=put(world.gateways, gateway, gate))


def _pack(rules: Rules, world: World, gateway: int, server: int) -> Stamp | Heard | None:
    if rules.by_heard:
        return heard_by(world, gateway)
    return world.gateways[gateway].stamps[server]


def arrivals(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """A server carries out a call that lay in its socket's buffer, each link's in order."""
    seen = set()
    for number, flight in enumerate(world.flights):
        link = flight.gateway, flight.server
        is_first = link not in seen
        seen.add(link)
        if is_first and world.servers[flight.server].health == UP:
            flights = world.flights[:number] + world.flights[number + 1 :]
            after, told = _carry_out(rules, world._replace(flights=flights), flight)
            text = "{} reads {} of gateway {}: " + told
            yield (text, NAMES[flight.server], flight.letter, flight.gateway), after


def _carry_out(rules: Rules, world: World, flight: Flight) -> tuple[World, str]:
    """Run send.lua. A replica refuses to write (READONLY, MOVED)."""
    server = world.servers[flight.server]
    if not server.is_master:
        return world, "refused"
    added = history.append(rules, server, flight.letter, flight.packed)
    if flight.server != world.elected and added:
        world = world._replace(is_orderly=False)
    world = write(world, flight.server, added)
    if not rules.waits and added:
        world = acknowledge(world, flight.letter)
    if added and added[-1].letter == flight.letter:
        epoch, offset = added[-1][:2]
        return world, f"appended and published as {epoch}:{offset}"
    # WAIT asks for what its own link has written: for nothing, on one that only repeats.
    if not rules.writes_when_known and can_replicate(world, flight.server):
        world = acknowledge(world, flight.letter)
        return world, "known, WAIT has nothing to wait for, acknowledged"
    return world, "known"


def write(world: World, server: int, added: Events) -> World:
    """Append and publish, in one script: each gateway that has a topic will hear it, or not."""
    if not added:
        return world
    world = with_server(world, server, log=world.servers[server].log + added)
    queues = list(world.queues)
    for gateway in (0, 1):
        if world.gateways[gateway].topic is not None:
            queues[2 * server + gateway] += added
    return world._replace(queues=tuple(queues))


# What is heard


def hearings(rules: Rules, world: World) -> Iterator[tuple[tuple, World]]:
    """A gateway hears what was published. Not yet stands for never as well: nothing waits for it.

    Over a link each server's messages come in order; between servers there is none.
    """
    for number, queue in enumerate(world.queues):
        server, gateway = divmod(number, 2)
        if queue and reaches(world, gateway, server) and world.servers[server].health != HUNG:
            for index in range(min(len(queue), world.left.skips + 1)):
                rest = put(world.queues, number, queue[index + 1 :])
                before = spend(world._replace(queues=rest), skips=index)
                yield _hearing(rules, before, server, gateway, queue[index])


def _hearing(
    rules: Rules, world: World, server: int, gateway: int, event: Event
) -> tuple[tuple, World]:
    told = event.letter or "that the log begins anew"
    what = ("gateway {} hears {} as {}:{} from {}", gateway, told, *event[:2], NAMES[server])
    return what, tried(readers.hear, rules, world, gateway, event)
