"""`gateway token`: prints a JWT signed with the configured secret, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.dev import find_dev_secret, folder_with_secret
from gateway.errors import SettingError
from gateway.settings import Settings, load_settings

if TYPE_CHECKING:
    import argparse

TTL_S = 3600


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "token",
        help="print a JWT",
        description="Print a JWT signed with GATEWAY_JWT_SECRET, or else with the secret that "
        "`gateway serve --dev` keeps in the data folder.",
    )
    parser.add_argument("--sub", required=True, help="the subject of the token")
    parser.add_argument("--tenant", default="default", help="the subject's tenant (default)")
    parser.add_argument(
        "--ttl",
        type=int,
        default=TTL_S,
        metavar="SECONDS",
        help=f"seconds until it expires ({TTL_S})",
    )
    parser.add_argument("--scope", default="", help='scopes, like "admin read"')
    parser.add_argument("--data-dir", help="data folder of a gateway with --dev (GATEWAY_DATA_DIR)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the token."""
    settings = signing_settings(arguments.data_dir)
    if settings.jwt_secret is None:
        raise SettingError("GATEWAY_JWT_SECRET", without_secret(settings))

    import time

    from gateway.identity.tokens import mint_token

    print(
        mint_token(
            settings,
            subject=arguments.sub,
            tenant=arguments.tenant,
            now=time.time(),
            ttl_s=arguments.ttl,
            scopes=arguments.scope.split(),
        )
    )
    return 0


def signing_settings(data_dir: str | None) -> Settings:
    """The settings with the secret of `--dev`, if no other key is configured."""
    settings = load_settings(data_dir=data_dir)
    if settings.jwt_secret or settings.jwt_public_key or settings.jwks_url:
        return settings
    folder = settings.data_path
    if settings.data_dir == Settings().data_dir:  # not said: it may be further up
        folder = folder_with_secret(folder) or folder
    return load_settings(data_dir=data_dir, jwt_secret=find_dev_secret(folder))


def without_secret(settings: Settings) -> str:
    """Why there is no secret to sign with, and what to do."""
    above = " or further up" if settings.data_dir == Settings().data_dir else ""
    return (
        f"no secret to sign a token with: it is not set, and no gateway has run with --dev in "
        f"{settings.data_path}{above}. Start one, or pass its folder with --data-dir"
    )
