"""The command line: each subcommand has its own file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from gateway.cli import token, worker
from gateway.cli.chat import command as chat
from gateway.cli.exit_codes import EXIT_BAD_SETTING, EXIT_INTERRUPTED
from gateway.cli.serve import command as serve
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="A realtime gateway whose sessions survive any interruption.",
        epilog="Settings are GATEWAY_… environment variables; flags override them "
        "(docs/operations.md).",
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (serve, worker, token, chat):
        module.add_command(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 on success, 2 if a setting or an argument is wrong, 1 otherwise.
    """
    arguments = build_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except GatewayError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return EXIT_BAD_SETTING
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


class _Version(argparse.Action):
    """`--version`; looked up when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version, and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print it."""
        print(f"gateway {_version()}")
        parser.exit()


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("session-gateway")
    except PackageNotFoundError:
        return "(not installed)"
