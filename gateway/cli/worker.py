"""`gateway worker`: executes runs, and serves nobody."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from gateway.settings import load_settings

if TYPE_CHECKING:
    import argparse

    from gateway.settings import Settings


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "worker",
        help="execute runs",
        description="Execute runs until SIGTERM or Ctrl-C; those under way then go to another.",
    )
    parser.add_argument("--redis-url", help="as of gateway serve (GATEWAY_REDIS_URL)")
    parser.add_argument("--data-dir", help="folder of the embedded server (GATEWAY_DATA_DIR)")
    parser.add_argument(
        "--concurrency",
        type=int,
        dest="worker_concurrency",
        help="runs at once (GATEWAY_WORKER_CONCURRENCY, 100)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Work until told to stop."""
    from gateway.logs import configure_logging  # noqa: PLC0415  # other commands start faster

    flags = {
        name: getattr(arguments, name) for name in ("redis_url", "data_dir", "worker_concurrency")
    }
    settings = load_settings(**flags)
    configure_logging(settings)
    asyncio.run(_work(settings))
    return 0


async def _work(settings: Settings) -> None:
    from gateway.work import working  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with working(settings):
        print("working", flush=True)
        await stop.wait()
