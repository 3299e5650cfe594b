"""Signals that stop the process: each one interrupts the command as Ctrl-C does, and sets the exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType


_MOMENT = 0.05  # seconds after which a signal is sent again


class Terminated(KeyboardInterrupt):
    """Raised when a signal asks the process to end; `signum` is its number."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


def catch_signals() -> None:
    """Make stop signals raise Terminated; where Python cannot raise it, they come again a moment later."""
    sys.unraisablehook = _unraisable
    _handle(_terminate)


def restore_signals() -> None:
    """Make stop signals end the process at once again."""
    _handle(signal.SIG_DFL)


def exit_code(exc: KeyboardInterrupt) -> int:
    """Return the exit code of an interruption: 128 plus the number of its signal."""
    return 128 + int(getattr(exc, "signum", signal.SIGINT))


def _handle(handler: Any) -> None:
    """Set the handler of the stop signals, except those that were ignored at the start, as nohup does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):  # the last one is that of a closed window on Windows
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _terminate(signum: int, _frame: FrameType | None) -> Any:
    restore_signals()  # a second signal ends the process at once
    raise Terminated(signum)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Send a signal again that arrived where Python only reports exceptions, as in a finalizer, a moment later."""
    if not isinstance(unraisable.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return
    _handle(_terminate)
    again = threading.Timer(_MOMENT, os.kill, (os.getpid(), exit_code(unraisable.exc_value) - 128))
    again.daemon = True  # a command that has ended by then stays ended
    again.start()
