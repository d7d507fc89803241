"""What `gateway serve --dev` prints: commands to be pasted into another terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from gateway.cli.dev import PUBLIC_TOKEN_TTL_S, find_dev_secret, is_loopback, token_ttl_s
from gateway.identity.tokens import mint_token
from gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "gateway"
SUBJECT = "dev"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what listens on all listens here


def own_command() -> str:
    """How this program is called from the shell that called it."""
    program = Path(sys.argv[0])
    if program.name != PROGRAM:
        return f"{_from_here(Path(sys.executable))} -m gateway"
    found = shutil.which(PROGRAM)
    if found is not None and program.exists() and Path(found).samefile(program):
        return PROGRAM
    return _from_here(program)


def dev_hints(settings: Settings, host: str, port: int) -> Iterator[str]:
    """The lines to print once it listens."""
    ttl_s = token_ttl_s(host)
    host = _ANYWHERE.get(host, host)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    token = mint_token(settings, subject=SUBJECT, now=time.time(), ttl_s=ttl_s)
    url = f"ws://{place}/ws?token={quote(token)}"
    yield f"url: {url}"
    yield ""
    chat = f"{own_command()} chat{_where(settings, host, place, port)}"
    if find_dev_secret(settings.data_path) == settings.jwt_secret:
        yield "Chat with it from another terminal, and as a second person from a third:"
        yield ""
        yield f"    {chat} --sub alice"
        yield f"    {chat} --sub bob"
    else:  # who chats there need not know the secret
        yield "Chat with it from another terminal:"
        yield ""
        yield f"    {own_command()} chat --url {shlex.quote(url)}"
    yield ""


def dev_warning(host: str) -> Iterator[str]:
    """The warning to print when other machines can reach a gateway with `--dev`."""
    if is_loopback(host):
        return
    yield f"WARNING: --dev is on, and other machines can reach {host or 'all addresses'}."
    yield "WARNING: There is no TLS, and anyone who sees the token below can connect."
    yield f"WARNING: So that token expires in {PUBLIC_TOKEN_TTL_S // 60} minutes. To serve other"
    yield "WARNING: people, configure a key instead of --dev: docs/authentication.md."
    yield ""


def _where(settings: Settings, host: str, place: str, port: int) -> str:
    usual = Settings()
    words = []
    if (host, port) != (usual.host, usual.port):
        words += ["--url", f"http://{place}"]
    if settings.data_dir != usual.data_dir:
        words += ["--data-dir", str(settings.data_path)]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _from_here(path: Path) -> str:
    """The path, short if it is below the working folder."""
    found, here = path.absolute(), Path.cwd()
    shown = found.relative_to(here) if found.is_relative_to(here) else found
    return shlex.quote(f".{os.sep}{shown}" if len(shown.parts) == 1 else str(shown))
