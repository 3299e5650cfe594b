"""Run one of the `python -m openai_batch.…` programs, and turn its errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

from openai_batch.errors import BatchError, StoppedError
from openai_batch.escapes import escape_newlines, escaping
from openai_batch.files.streams import discard, flush_remarks, is_closed_pipe, set_up_streams

if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_CLOSED = 141  # the exit code if the reader of our output has closed the pipe: 128 plus SIGPIPE, as shells have it


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
            discard(sys.stdout)
            sys.exit(PIPE_CLOSED)
        where = f"{exc.filename}: " if exc.filename is not None else ""
        code = _print_error(BatchError(f"{where}{exc.strerror or exc}"))
    flush_remarks()
    sys.exit(code)


def _print_error(exc: BatchError) -> int:
    for line in (exc.message, *exc.details):
        _remark("error", line)
    if exc.hint:
        _remark("hint", exc.hint)
    return exc.code


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _remark("warning", str(message))


def _remark(kind: str, text: str) -> None:
    """Print a line to standard error; one that cannot be written does not stop the program."""
    with contextlib.suppress(OSError):
        print(f"{kind}: {escape_newlines(text)}", file=sys.stderr)  # noqa: T201 - this is a program
