"""What belongs to a whole process: its signals, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from typing import TYPE_CHECKING

from uvicorn.server import HANDLED_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXIT_STUCK = 1
# Net allocations before the youngest objects are looked through for cycles, and rounds before the
# older ones are. Python's 700, 10, 10 look through every connection's objects again and again:
# a fifth of the time of a thousand who connect at once. What is not in a cycle is freed at once
# all the same.
COLLECT_AFTER = (20_000, 50, 50)


@contextlib.contextmanager
def calling_on_signals(on_signal: Callable[[], None]) -> Iterator[None]:
    """Call `on_signal` in the running loop at each SIGTERM and SIGINT; then put things back.

    In a thread other than the main one nothing is done: Python delivers no signals there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in HANDLED_SIGNALS}
    for number in HANDLED_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextlib.contextmanager
def holding_signals() -> Iterator[None]:
    """Hold SIGTERM and SIGINT back while the block runs; those that came meanwhile follow then.

    A program that is started in it begins like that, and cannot be hit before it has handlers.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)


@contextlib.contextmanager
def letting_signals_in() -> Iterator[None]:
    """Where they are held back, let them come while the block runs."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)


def exit_at_the_latest(limit_s: float) -> None:
    """End the process with EXIT_STUCK when it still runs after so many seconds.

    For a blocked loop or a thread that does not return: nothing else gets past them.
    """
    timer = threading.Timer(limit_s, os._exit, (EXIT_STUCK,))
    timer.daemon = True
    timer.start()


def collect_less() -> None:
    """Look for garbage in cycles rarely, and never in what the program itself consists of."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
