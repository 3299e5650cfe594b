"""The standard streams of a program of ours."""

from __future__ import annotations

import errno
import io
import sys

from .locks import WINDOWS


def set_up_streams() -> None:
    r"""Show characters that the encoding of the output lacks as escapes, and end lines with `\n` on each system."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", newline="\n")


def is_closed_pipe(exc: OSError) -> bool:
    """Tell whether a write failed since the reader of our output has ended. Windows calls that an invalid argument."""
    return isinstance(exc, BrokenPipeError) or (WINDOWS and exc.errno == errno.EINVAL and exc.filename is None)
