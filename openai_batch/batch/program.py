"""Run one of the `python -m openai_batch.…` programs: what it raises becomes two lines and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, NoReturn

from openai_batch.errors import BatchError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_CLOSED = 141
"""What a shell reports for a program whose reader has gone: 128 plus SIGPIPE."""


def program(body: Callable[[], int | None]) -> NoReturn:
    """Call `body` and exit with the code that it returns (None is 0), or with that of the error it raises.

    An expected failure is an `error:` and a `hint:` line on standard error, never a traceback. A reader of our
    output that goes away ends the program without a word.
    """
    warnings.showwarning = _show_warning
    try:
        code = body() or 0
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has nobody to read it: keep the interpreter from trying at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except KeyboardInterrupt:
        code = _tell(StoppedError("interrupted", hint="run the same command again"))
    except BatchError as exc:
        code = _tell(exc)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename is not None else ""
        code = _tell(BatchError(f"{where}{exc.strerror or exc}"))
    sys.exit(code)


def _tell(exc: BatchError) -> int:
    for line in str(exc).split("\n"):
        print(f"error: {_plain(line)}", file=sys.stderr)  # noqa: T201 - this is a program
    if exc.hint:
        print(f"hint: {_plain(exc.hint)}", file=sys.stderr)  # noqa: T201
    return exc.code


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {_plain(str(message))}", file=sys.stderr)  # noqa: T201


def _plain(text: str) -> str:
    """Return foreign text on one line and without what could drive a terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
