"""Run a command and turn what it raises into two lines on standard error and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, StoppedError

if TYPE_CHECKING:
    from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: what Ctrl-C does, under another number."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def main(words: list[str]) -> int:
    """Run `obatch` with these words and return the exit code. No expected failure shows a traceback."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminate)
    from .app import build_app

    try:
        code = build_app()(args=words, prog_name="obatch", standalone_mode=True)
    except SystemExit as exc:
        code = exc.code
    except BatchError as exc:
        tell(exc)
        code = exc.code
    except KeyboardInterrupt as exc:
        code = 128 + getattr(exc, "signum", signal.SIGINT)
    return _flushed(code if isinstance(code, int) else int(bool(code)))


def tell(error: BatchError) -> None:
    """Write `error:` and `hint:` to standard error; with OBATCH_DEBUG set, the traceback too."""
    from .output import errors

    if os.environ.get("OBATCH_DEBUG"):
        import traceback

        errors.plain("".join(traceback.format_exception(error)).rstrip())
    errors.line("error:", str(error), "bold red")
    if error.hint:
        errors.line("hint:", error.hint, "bold cyan")


def stopped(exc: KeyboardInterrupt, message: str, hint: str) -> StoppedError:
    """Return the error that says what goes on although this process was told to stop."""
    return StoppedError(message, hint=hint, signum=int(getattr(exc, "signum", signal.SIGINT)))


def _terminate(signum: int, _frame: FrameType | None) -> Any:
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once
    raise Terminated(signum)


def _flushed(code: int) -> int:
    """Make sure that what was written has arrived; a closed pipe is no error to speak of."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as exc:
        tell(BatchError(f"cannot write to standard output: {exc.strerror}"))
        return code or 1
    return code
