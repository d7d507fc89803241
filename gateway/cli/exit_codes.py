"""What the command ends with, when not 0."""

from __future__ import annotations

EXIT_BAD_SETTING = 2
EXIT_INTERRUPTED = 130


EXIT_CLOSED = 1
EXIT_BAD_ARGUMENT = 2
