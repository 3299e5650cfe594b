"""Run a command and turn what it raises into two lines on standard error and an exit code."""

from __future__ import annotations

import os
import sys

from openai_batch.errors import BatchError
from openai_batch.files.streams import is_closed_pipe, set_up_streams

from .signals import catch_signals, exit_code, restore_signals

ISSUES = "https://github.com/parasail-ai/openai-batch/issues"


def main(argv: list[str]) -> int:
    """Run `obatch` with these arguments and return the exit code. No expected failure shows a traceback."""
    os.umask(os.umask(0o077) & 0o077)  # a file that its own owner cannot use would help nobody
    try:
        catch_signals()
        code = _run(argv)
        restore_signals()
    except KeyboardInterrupt as exc:  # while a message was printed
        code = exit_code(exc)
    return _flushed(code)


def _run(argv: list[str]) -> int:
    set_up_streams()
    from .app import build_app

    try:
        code = build_app()(args=argv, prog_name="obatch", standalone_mode=True)
    except SystemExit as exc:
        cause = getattr(exc.__context__, "__cause__", None)  # typer reports every interruption as Ctrl-C
        code = exit_code(cause) if isinstance(cause, KeyboardInterrupt) else exc.code
    except BatchError as exc:
        report_error(exc)
        code = exc.code
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        code = 1
        report_error(BatchError(f"{where}{exc.strerror or exc}"))
    except Exception:  # noqa: BLE001 - our bug: print the traceback and ask for a report
        code = _show_bug()
    return code if isinstance(code, int) else int(bool(code))


def report_error(error: BatchError) -> None:
    """Write `error:` and `hint:` to standard error, and with OBATCH_DEBUG set the traceback before them."""
    from .output import errors

    if os.environ.get("OBATCH_DEBUG"):
        import traceback

        errors.plain("".join(traceback.format_exception(error)).rstrip())
    errors.line("error:", str(error), "bold red")
    if error.hint:
        errors.line("hint:", error.hint, "bold cyan")


def _show_bug() -> int:
    import traceback

    from openai_batch import __version__

    from .output import errors

    errors.plain(traceback.format_exc().rstrip())
    errors.line("error:", f"this is a bug in obatch {__version__}; sent requests are safe in the registry", "bold red")
    errors.line("hint:", f"please report it with the lines above: {ISSUES}", "bold cyan")
    return 1


def _flushed(code: int) -> int:
    """Flush standard output and return the exit code; a closed pipe is not an error."""
    try:
        sys.stdout.flush()
    except OSError as exc:
        # Keep the interpreter from flushing the rest of the buffer again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if is_closed_pipe(exc):
            return code
        if not code:
            report_error(BatchError(f"cannot write to standard output: {exc.strerror}"))
        return code or 1
    return code
