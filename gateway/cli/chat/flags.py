"""The flags of `gateway chat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


DEFAULT_URL = "ws://127.0.0.1:8000/ws"
DEFAULT_CONVERSATION = "lobby"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `gateway chat`."""
    parser.add_argument(
        "--url",
        default=DEFAULT_URL,
        help="of the gateway; http://HOST:PORT is enough (default: %(default)s)",
    )
    parser.add_argument("--token", help="a JWT (default: one signed with the local secret)")
    parser.add_argument(
        "--sub", default="dev", metavar="NAME", help="subject of the token signed here"
    )
    parser.add_argument(
        "--conversation", default=DEFAULT_CONVERSATION, help="id (default: %(default)s)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="print plain lines, even on a terminal"
    )
