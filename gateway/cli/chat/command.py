"""`gateway chat`: the terminal client; it signs its own token where there is a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.chat.flags import add_arguments
from gateway.cli.token import TTL_S, signing_settings, without_secret

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from gateway.settings import Settings


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "chat",
        help="chat from a terminal",
        description="Chat from a terminal; the connection resumes by itself. Without --token, one "
        "is signed with GATEWAY_JWT_SECRET, or with the secret of a gateway with --dev.",
    )
    add_arguments(parser)
    parser.add_argument("--data-dir", help="data folder of a gateway with --dev (GATEWAY_DATA_DIR)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Chat until /quit."""
    import asyncio

    from gateway.cli.chat import chat

    settings = signing_settings(arguments.data_dir)
    mint = _mint(settings, arguments.sub)
    return asyncio.run(chat.chat(arguments, mint=mint, no_mint=without_secret(settings)))


def _mint(settings: Settings, subject: str) -> Callable[[], str] | None:
    """Returns a function that signs a token; None if there is no secret to sign with."""
    if settings.jwt_secret is None:
        return None
    import time

    from gateway.identity.tokens import mint_token

    return lambda: mint_token(settings, subject=subject, now=time.time(), ttl_s=TTL_S)
