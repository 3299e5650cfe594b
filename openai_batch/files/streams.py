"""The standard streams of our programs."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from .locks import WINDOWS

if TYPE_CHECKING:
    from typing import TextIO


def set_up_streams() -> None:
    r"""Show characters that the output cannot encode as escapes, and end lines with `\n` on each system."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", newline="\n")


def flush_remarks() -> None:
    """Flush standard error. Errors are ignored: else the interpreter would end with another exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Keep the interpreter from flushing the rest of a stream's buffer again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_closed_pipe(exc: OSError) -> bool:
    """Return whether a write failed because the reader of our output has ended. On Windows that is EINVAL."""
    return isinstance(exc, BrokenPipeError) or (WINDOWS and exc.errno == errno.EINVAL and exc.filename is None)
