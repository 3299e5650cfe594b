"""Run one of the `python -m openai_batch.…` programs, and turn its errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

from openai_batch.errors import BatchError, StoppedError
from openai_batch.escapes import escape_newlines, escaping
from openai_batch.files.streams import is_closed_pipe, set_up_streams

if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_CLOSED = 141
"""The exit code if the reader of our output has closed the pipe: 128 plus SIGPIPE, as shells have it."""


def run_program(body: Callable[[], int | None]) -> NoReturn:
    """Call `body`, and exit with the code that it returns (None means 0) or with the code of the error that it raises.

    An expected error is printed to standard error as `error:` and `hint:` lines, without a traceback. If the reader of
    our output has closed the pipe, nothing is printed.
    """
    warnings.showwarning = _show_warning
    set_up_streams()
    sys.stderr = escaping(sys.stderr)
    try:
        code = body() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = _print_error(StoppedError("interrupted", hint="run the same command again"))
    except BatchError as exc:
        code = _print_error(exc)
    except OSError as exc:
        if is_closed_pipe(exc):
            # At exit the interpreter flushes standard output, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(PIPE_CLOSED)
        where = f"{exc.filename}: " if exc.filename is not None else ""
        code = _print_error(BatchError(f"{where}{exc.strerror or exc}"))
    sys.exit(code)


def _print_error(exc: BatchError) -> int:
    for line in (exc.message, *exc.details):
        print(f"error: {escape_newlines(line)}", file=sys.stderr)  # noqa: T201 - this is a program
    if exc.hint:
        print(f"hint: {escape_newlines(exc.hint)}", file=sys.stderr)  # noqa: T201
    return exc.code


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {escape_newlines(str(message))}", file=sys.stderr)  # noqa: T201
