"""Run a command and turn what it raises into two lines on standard error and an exit code."""

from __future__ import annotations

import io
import os
import sys

from openai_batch.errors import BatchError

from .signals import exit_code, listen, stop_listening

ISSUES = "https://github.com/parasail-ai/openai-batch/issues"


def main(words: list[str]) -> int:
    """Run `obatch` with these words and return the exit code. No expected failure shows a traceback."""
    try:
        listen()
        code = _run(words)
        stop_listening()
    except KeyboardInterrupt as exc:  # while something was said
        code = exit_code(exc)
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
        code = exit_code(cause) if isinstance(cause, KeyboardInterrupt) else exc.code
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


def _show_bug() -> int:
    import traceback

    from openai_batch import __version__

    from .output import errors

    errors.plain(traceback.format_exc().rstrip())
    errors.line("error:", f"this is a bug in obatch {__version__}; what was sent is in the registry", "bold red")
    errors.line("hint:", f"please report it with the lines above: {ISSUES}", "bold cyan")
    return 1


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
