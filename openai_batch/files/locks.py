"""Locks between processes. The system releases the lock of a killed process, so no lock is ever left behind.

`fcntl` is imported inside the functions, since the package must be importable on Windows too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError

from .private import is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def hold(path: Path, flags: int) -> int | None:
    """Open a file or folder with these flags (new files get mode 0600), lock it, and return the descriptor.

    Return None if another process has removed it in the meantime: then make it again. Closing the descriptor releases
    the lock. Raises OSError.
    """
    import fcntl

    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        return None
    with contextlib.suppress(OSError):  # without locks in the file system, `clear_away` removes nothing
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with contextlib.suppress(OSError):
        if os.path.samestat(path.lstat(), os.fstat(descriptor)):
            return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock on the file `path`, made with mode 0600 if it does not exist; wait until it is free.

    `waiting` is called once before such a wait. Raises BatchError if the file cannot be made.
    """
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise BatchError(f"cannot make {path}: {exc.strerror}", hint="make room there") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def clear_away(paths: Iterable[Path]) -> None:
    """Remove the files and folders of this user that no process has locked."""
    import fcntl

    for path in paths:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not is_own(os.fstat(descriptor)):
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock on the file `path`; False if there is no such file."""
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
