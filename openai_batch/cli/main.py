"""Run a command and turn what it raises into two lines on standard error and an exit code."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, UsageError
from openai_batch.escapes import escaping
from openai_batch.files.streams import discard, flush_remarks, is_closed_pipe, set_up_streams

from .signals import catch_signals, exit_code, restore_signals

if TYPE_CHECKING:
    import typer

ISSUES = "https://github.com/parasail-ai/openai-batch/issues"


def main(argv: list[str]) -> int:
    """Run `obatch` with these arguments and return the exit code. No expected failure shows a traceback."""
    os.umask(os.umask(0o077) & 0o077)  # a file that its own owner cannot use is useless
    try:
        catch_signals()
        code = _run(argv)
        restore_signals()
    except KeyboardInterrupt as exc:  # while a message was printed
        code = exit_code(exc)
    return _flushed(code)


def _run(argv: list[str]) -> int:
    set_up_streams()
    stderr, sys.stderr = sys.stderr, escaping(sys.stderr)
    try:
        return _exit_code_of(argv)
    finally:
        sys.stderr = stderr


def _exit_code_of(argv: list[str]) -> int:
    try:
        return _invoke(argv)
    except KeyboardInterrupt as exc:
        return exit_code(exc)
    except BrokenPipeError:
        return 1
    except BatchError as exc:
        report_error(exc)
        return exc.code
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        report_error(BatchError(f"{where}{exc.strerror or exc}"))
    except Exception as exc:  # noqa: BLE001 - our bug: ask for a report
        report_error(_bug(exc))
    return 1


def _invoke(argv: list[str]) -> int:
    """Parse the arguments and call the command; return the exit code. Raises what the command raises."""
    import typer.main

    from .app import build_app

    argv = _without_colour(argv)
    command = typer.main.get_command(build_app(argv))
    if "_OBATCH_COMPLETE" in os.environ:  # the script of --install-completion asks
        command.main(args=argv, prog_name="obatch")
    try:
        with command.make_context("obatch", argv) as context:
            command.invoke(context)
    except typer.Exit as exc:
        return exc.exit_code
    except typer.Abort:
        raise BatchError("not confirmed: nothing was done", hint="--yes does it without asking") from None
    except typer.TyperException as exc:
        return _report_usage(exc)
    return 0


def _without_colour(argv: list[str]) -> list[str]:
    """Return the words without `--no-color`, which means the same on every command as the variable NO_COLOR."""
    own = argv[: argv.index("--")] if "--" in argv else argv
    if "--no-color" not in own:
        return argv
    os.environ["NO_COLOR"] = "1"
    return [word for word in own if word != "--no-color"] + argv[len(own) :]


def _report_usage(exc: typer.TyperException) -> int:
    """Write an error about the arguments, or the help if there are none, and return the exit code."""
    if type(exc).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(re.sub("\x1b\\[[0-9]+m", "", exc.format_message()) + "\n")
        return exc.exit_code
    context: typer.Context | None = getattr(exc, "ctx", None)
    message = _number_fault(exc) or exc.format_message()
    what = "options" if context is None or context.parent else "commands"
    hint = f"`{context.command_path} -h` shows the {what}" if context is not None else ""
    report_error(UsageError(message[:1].lower() + message[1:].rstrip("."), hint=hint))
    return exc.exit_code


def _number_fault(exc: typer.TyperException) -> str:
    """Return what the value of an option must be, if the error is about a number; else an empty text."""
    parameter: Any = getattr(exc, "param", None)
    if type(exc).__name__ != "BadParameter" or not exc.format_message().count("Input should be"):
        return ""
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    limits = ("" if low is None else f" from {low}") + ("" if high is None else f" to {high}")
    return f"{parameter.opts[0]} must be a whole number{limits}"


def report_error(error: BatchError) -> None:
    """Write `error:` and `hint:` to standard error, and with OBATCH_DEBUG set the traceback before them."""
    from .output import errors

    if os.environ.get("OBATCH_DEBUG"):
        import traceback

        errors.details("".join(traceback.format_exception(error)).rstrip().split("\n"))
    errors.line("error:", error.message, "bold red")
    errors.details(error.details)
    if error.hint:
        errors.line("hint:", error.hint, "bold cyan")


def _bug(exc: Exception) -> BatchError:
    """Return the error for an unexpected exception: what and where it is, and how to report it."""
    import traceback

    from openai_batch import __version__

    frames = traceback.extract_tb(exc.__traceback__)
    ours = [frame for frame in frames if "openai_batch" in frame.filename][-1]
    what = "".join(traceback.format_exception_only(exc)).strip()
    error = BatchError(
        f"this is a bug in obatch {__version__}: {what} ({Path(ours.filename).name}:{ours.lineno});"
        " sent requests are safe in the registry",
        hint=f"please report it with the lines above: {ISSUES}"
        if os.environ.get("OBATCH_DEBUG")
        else f"please report it: {ISSUES}; the same command with OBATCH_DEBUG=1 shows more",
    )
    error.__cause__ = exc
    return error


def _flushed(code: int) -> int:
    """Flush the standard streams and return the exit code; a closed pipe is not an error, and remarks may be lost."""
    flush_remarks()
    try:
        sys.stdout.flush()
    except OSError as exc:
        discard(sys.stdout)
        if is_closed_pipe(exc):
            return code
        if not code:
            report_error(BatchError(f"cannot write to standard output: {exc.strerror}"))
        return code or 1
    return code
