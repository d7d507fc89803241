"""`gateway chat`: the terminal client, with a token of its own making where there is a secret."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    from gateway.cli import chat  # noqa: PLC0415

    parser = commands.add_parser("chat", help="talk from a terminal", description=chat.__doc__)
    chat.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Chat until /quit."""
    from gateway.cli import chat  # noqa: PLC0415

    return asyncio.run(chat.chat(arguments))
