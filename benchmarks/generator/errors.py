"""What ends a measurement."""

from __future__ import annotations


class MeasurementError(Exception):
    """No number can be given; the text says why."""


class Refused(MeasurementError):
    """A server closed a connection, or answered with something else than was agreed."""


class TooSlow(MeasurementError):
    """What was waited for did not happen in time."""
