"""`gateway worker`: carries out runs, and serves no clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.settings import load_settings

if TYPE_CHECKING:
    import argparse

    from gateway.settings import Settings

STORE_STOP_S = 15.0  # more than the lease keeper and the embedded server take together
EXIT_MARGIN_S = 5.0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "worker",
        help="carry out runs",
        description="Carry out runs until SIGTERM or Ctrl-C; unfinished ones continue at another "
        "worker.",
    )
    parser.add_argument("--redis-url", help="as for gateway serve (GATEWAY_REDIS_URL)")
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
    flags = {
        name: getattr(arguments, name) for name in ("redis_url", "data_dir", "worker_concurrency")
    }
    settings = load_settings(**flags)

    import asyncio

    from gateway.telemetry.logs import configure_logging

    configure_logging(settings)
    asyncio.run(_work(settings))
    return 0


async def _work(settings: Settings) -> None:
    import asyncio

    from gateway.runs.worker import working
    from gateway.transport.server.process import calling_on_signals, exit_at_the_latest

    stop = asyncio.Event()
    limit_s = _stop_limit_s(settings) + EXIT_MARGIN_S

    def stop_in_time() -> None:
        if not stop.is_set():
            stop.set()
            exit_at_the_latest(limit_s)

    with calling_on_signals(stop_in_time):
        async with working(settings):
            print("working", flush=True)
            await stop.wait()
        exit_at_the_latest(EXIT_MARGIN_S)  # all is done; a tool's thread may block for ever


def _stop_limit_s(settings: Settings) -> float:
    """Seconds from the first signal until all runs were given back."""
    waiting_s = settings.drain_timeout_s / 2  # of Worker, for runs that cannot move
    return waiting_s + settings.run_cleanup_s + settings.redis_timeout_s + STORE_STOP_S
