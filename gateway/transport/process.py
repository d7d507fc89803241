"""What belongs to a whole process: its signals, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

from uvicorn.server import HANDLED_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXIT_STUCK = 1


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


def exit_at_the_latest(limit_s: float) -> None:
    """End the process with EXIT_STUCK when it still runs after so many seconds.

    For a blocked loop or a thread that does not return: nothing else gets past them.
    """
    timer = threading.Timer(limit_s, os._exit, (EXIT_STUCK,))
    timer.daemon = True
    timer.start()
