"""The server's log: its standard error."""

from __future__ import annotations

import sys
import time

from openai_batch.escapes import escape_newlines


def log(message: str) -> None:
    """Write a message with the time, on one line."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {escape_newlines(message)}\n")
    sys.stderr.flush()
