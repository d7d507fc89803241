"""`gateway serve`: the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gateway.cli.dev import dev_secret
from gateway.errors import SettingError
from gateway.settings import load_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from uvicorn._types import ASGIApplication

    from gateway.settings import Settings


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "serve", help="serve the gateway", description="Serve the gateway until SIGTERM or Ctrl-C."
    )
    parser.add_argument("--host", help="address to listen on (GATEWAY_HOST, 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 for any (GATEWAY_PORT, 8000)"
    )
    parser.add_argument(
        "--redis-url",
        help="redis://, rediss://, unix://, redis+sentinel:// or "
        "redis+cluster:// (GATEWAY_REDIS_URL; if not set, an embedded server)",
    )
    parser.add_argument("--data-dir", help="folder of the embedded server (GATEWAY_DATA_DIR)")
    parser.add_argument(
        "--dev",
        action="store_true",
        default=None,
        help="for development: create a secret in the data folder, print a URL with a token",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="replicas: processes that share the port (GATEWAY_WORKERS, 1)",
    )
    parser.add_argument(
        "--no-worker",
        action="store_true",
        help="carry out no runs here; gateway worker does it elsewhere",
    )
    parser.add_argument(
        "--reload",
        action="store_true",
        help="with --dev: reload when the code of agents or handlers changes",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = _settings(arguments)
    from gateway.telemetry.logs import configure_logging

    configure_logging(settings)

    def listening(host: str, port: int) -> None:
        _announce(settings, host, port)

    if arguments.reload and not settings.dev:
        raise SettingError("--reload", "is for development and needs --dev")
    serve = _serve if settings.workers == 1 else _supervise
    if arguments.reload:
        serve = _reload
    return serve(settings, has_worker=not arguments.no_worker, on_listening=listening)


def _serve(
    settings: Settings, *, has_worker: bool, on_listening: Callable[[str, int], None]
) -> int:
    """Serve in this process."""
    from gateway.app import create_app
    from gateway.transport import GatewayServer, uvicorn_config

    app = create_app(settings, has_worker=has_worker)
    config = uvicorn_config(cast("ASGIApplication", app), settings)
    server = GatewayServer(config, drain=app.drain, on_listening=on_listening)
    server.run()
    return 0


def _supervise(
    settings: Settings, *, has_worker: bool, on_listening: Callable[[str, int], None]
) -> int:
    """Have processes serve that share the port."""
    import asyncio

    from gateway.cli.serve.supervisor import Supervisor

    supervisor = Supervisor(settings, has_worker=has_worker, on_listening=on_listening)
    return asyncio.run(supervisor.run())


def _reload(
    settings: Settings, *, has_worker: bool, on_listening: Callable[[str, int], None]
) -> int:
    """Have processes serve that are replaced when their code changes."""
    import asyncio

    from gateway.cli.serve.reloading import ReloadingSupervisor

    supervisor = ReloadingSupervisor(settings, has_worker=has_worker, on_listening=on_listening)
    return asyncio.run(supervisor.run())


def _settings(arguments: argparse.Namespace) -> Settings:
    flags = {
        name: getattr(arguments, name)
        for name in ("host", "port", "workers", "redis_url", "data_dir", "dev")
    }
    settings = load_settings(**flags)
    has_key = settings.jwt_secret or settings.jwt_public_key or settings.jwks_url
    if settings.dev and not has_key:
        settings = load_settings(**flags, jwt_secret=dev_secret(settings.data_path))
    return settings


def _announce(settings: Settings, host: str, port: int) -> None:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"  # RFC 3986 section 3.2.2
    print(f"listening on http://{authority}", flush=True)
    if settings.dev:
        _announce_dev(settings, host, port)


def _announce_dev(settings: Settings, host: str, port: int) -> None:
    import structlog

    from gateway.cli.serve.hints import dev_hints, dev_warning

    lines = list(dev_warning(host))
    if lines:
        log = structlog.get_logger(__name__)
        log.warning("dev_is_public", host=host)
    if settings.jwt_secret:
        lines += dev_hints(settings, host, port)
    print("\n".join(lines), flush=True)
