"""Become another program that ends with the process that started it (Linux only).

Run as a script: `python -I -S die_with_parent.py PARENT_PID SIGNAL PROGRAM ARGUMENT…`.

It stands between, and is not a `preexec_fn`, because that runs Python between fork and exec: it
can deadlock when the parent has threads (docs of `subprocess`), and warns since Python 3.12.
It costs 20 ms once a start, and leaves nothing behind: `exec` keeps the pid and the open files.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def dying_with_us(command: list[str], *, signal_number: int) -> list[str]:
    """Return `command` wrapped so that it gets the signal when the thread that forks it ends.

    Where the system cannot do it (not Linux) the command comes back as it is: a program whose
    parent was killed lives on there.
    """
    if sys.platform != "linux" or not sys.executable:
        return command
    ours = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signal_number))]
    return ours + command


def _become(parent_pid: int, signal_number: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number)) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:  # it ended before prctl; no signal will come
        sys.exit("the process that started this one has ended")
    os.execv(command[0], command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
