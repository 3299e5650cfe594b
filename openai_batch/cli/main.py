"""Run a command and turn what it raises into two lines on standard error and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, StoppedError

if TYPE_CHECKING:
    from types import FrameType


ISSUES = "https://github.com/parasail-ai/openai-batch/issues"


class Terminated(KeyboardInterrupt):
    """A signal that asks the process to end: what Ctrl-C does, with its number."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def main(words: list[str]) -> int:
    """Run `obatch` with these words and return the exit code. No expected failure shows a traceback."""
    sys.unraisablehook = _unraisable
    try:
        _listen(_terminate)
        code = _run(words)
        _listen(signal.SIG_DFL)  # what comes now ends a process that has nothing left to do, without a word
    except KeyboardInterrupt as exc:  # while something was said
        code = _number(exc)
    return _flushed(code)


def _run(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what an encoding lacks is shown as an escape
    from .app import build_app

    try:
        code = build_app()(args=words, prog_name="obatch", standalone_mode=True)
    except SystemExit as exc:
        cause = getattr(exc.__context__, "__cause__", None)  # typer takes every interruption for Ctrl-C
        code = _number(cause) if isinstance(cause, KeyboardInterrupt) else exc.code
    except BatchError as exc:
        tell(exc)
        code = exc.code
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        code = 1
        tell(BatchError(f"{where}{exc.strerror or exc}"))
    except Exception:  # noqa: BLE001 - a bug of ours: shown whole, and said to be one
        code = _show_bug()
    return code if isinstance(code, int) else int(bool(code))


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
    return StoppedError(message, hint=hint, signum=_number(exc) - 128)


def _show_bug() -> int:
    import traceback

    from openai_batch import __version__

    from .output import errors

    errors.plain(traceback.format_exc().rstrip())
    errors.line("error:", f"this is a bug in obatch {__version__}; what was sent is in the registry", "bold red")
    errors.line("hint:", f"please report it with the lines above: {ISSUES}", "bold cyan")
    return 1


def _listen(handler: Any) -> None:
    """Answer the signals that ask for an end, except those that were ignored when the process began, as by nohup."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _terminate(signum: int, _frame: FrameType | None) -> Any:
    _listen(signal.SIG_DFL)  # a second one ends the process at once
    raise Terminated(signum)


def _number(exc: KeyboardInterrupt) -> int:
    """Return the exit code of an interruption."""
    return 128 + int(getattr(exc, "signum", signal.SIGINT))


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process by its signal if that came where Python can only report it, as in a finalizer."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        os.kill(os.getpid(), _number(unraisable.exc_value) - 128)
    sys.__unraisablehook__(unraisable)


def _flushed(code: int) -> int:
    """Make sure that what was written has arrived; a closed pipe is no error to speak of."""
    try:
        sys.stdout.flush()
    except OSError as exc:
        # What is still buffered has nowhere to go: keep the interpreter from trying at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(exc, BrokenPipeError):
            return code
        if not code:
            tell(BatchError(f"cannot write to standard output: {exc.strerror}"))
        return code or 1
    return code
