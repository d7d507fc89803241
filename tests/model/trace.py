"""A trace as text: step by step, who did what, what each server and each client holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.servers import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.model.search import Found
    from tests.model.state import Client, Events, Server, World


def lines(found: Found) -> Iterator[str]:
    """The whole trace."""
    for number, (what, world) in enumerate(found.trace):
        yield f"{number:3}. {what[0].format(*what[1:])}" if what else "  0. at the beginning"
        if world is not None:
            yield from _holdings(world)
    if found.epilogue:
        yield "     then nothing more goes wrong, and"
    for told in found.epilogue:
        yield f"     {told}"
    yield f"  => {found.fault}"


def _holdings(world: World) -> Iterator[str]:
    for index, server in enumerate(world.servers):
        mark = "*" if world.elected == index else " "
        yield f"       {NAMES[index]}{mark} {_server(server)}"
    for index, client in enumerate(world.clients):
        yield f"       client {index} {_client(client)}"


def _server(server: Server) -> str:
    role = f"master, reign {server.reign}" if server.is_master else "replica"
    return f"{server.health}, {role}: {_log(server.log)}"


def _log(log: Events) -> str:
    return " ".join(f"{event.letter or 'anew'}={event.epoch}:{event.offset}" for event in log)


def _client(client: Client) -> str:
    at = f"at gateway {client.at}, {client.mode}"
    return f"{at}: holds {client.holds} up to {client.epoch}:{client.offset}"
