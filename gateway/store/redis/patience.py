"""Since when who asks has been waiting: a call behind others is not as patient as they were again.

Whoever performs what has waited its turn sets it; the calls made there, and in tasks started there,
wait for a lost server as if they had been made at that time.
"""

from __future__ import annotations

from contextvars import ContextVar

waiting_since: ContextVar[float | None] = ContextVar("waiting_since", default=None)  # monotonic
