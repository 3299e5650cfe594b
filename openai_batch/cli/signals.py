"""Signals that ask the process to end: each interrupts what runs, as Ctrl-C does, and sets the exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from openai_batch.errors import StoppedError

if TYPE_CHECKING:
    from types import FrameType


class Terminated(KeyboardInterrupt):
    """A signal that asks the process to end, with its number."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def listen() -> None:
    """Raise Terminated on the signals that ask for an end, and end the process where that cannot be raised."""
    sys.unraisablehook = _unraisable
    _handle(_terminate)


def stop_listening() -> None:
    """Let these signals end the process at once: it has nothing left to do."""
    _handle(signal.SIG_DFL)


def exit_code(exc: KeyboardInterrupt) -> int:
    """Return the exit code of an interruption: 128 and the number of its signal."""
    return 128 + int(getattr(exc, "signum", signal.SIGINT))


def stopped(exc: KeyboardInterrupt, message: str, hint: str) -> StoppedError:
    """Return the error that says what goes on although this process was told to stop."""
    return StoppedError(message, hint=hint, signum=exit_code(exc) - 128)


def _handle(handler: Any) -> None:
    """Set a handler, except for signals that were ignored when the process began, as by nohup."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _terminate(signum: int, _frame: FrameType | None) -> Any:
    stop_listening()  # a second signal ends the process at once
    raise Terminated(signum)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """End the process by its signal if that came where Python can only report it, as in a finalizer."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        os.kill(os.getpid(), exit_code(unraisable.exc_value) - 128)
    sys.__unraisablehook__(unraisable)
