"""Locks between processes. The system releases the lock of a killed process, so no lock remains.

POSIX systems lock whole files with `flock`; Windows has no such locks, but a byte of a file can be locked there, and
a file that a process has open cannot be removed or renamed.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import shutil
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from openai_batch.errors import BatchError, WaitTimeoutError

from .private import is_own

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

try:
    _fcntl: Any = import_module("fcntl")
except ModuleNotFoundError:
    _fcntl = None

WINDOWS = _fcntl is None  # whether this is Windows, or behaves like it
_LOCK_IN = "lock"  # the file in a folder that is locked instead of the folder: Windows cannot open folders
_PLACE = 1 << 30
"""The byte that is locked on Windows. Other processes cannot read it, so it is one that small files do not have."""
_PAUSE = 0.1


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file, and return whether that was possible at once. Raises OSError if it cannot be locked at all.

    Where there are shared locks, several processes can have one at the same time.
    """
    if not WINDOWS:
        try:
            _fcntl.flock(descriptor, (_fcntl.LOCK_SH if shared else _fcntl.LOCK_EX) | _fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    msvcrt: Any = import_module("msvcrt")
    os.lseek(descriptor, _PLACE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as exc:
        if exc.errno not in (errno.EACCES, errno.EDEADLK):
            raise
        return False
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return True


def _wait(descriptor: int, seconds: float | None = None) -> None:
    """Lock an open file as soon as no other process has it locked. Raises OSError, and WaitTimeoutError."""
    if seconds is None and not WINDOWS:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX)
        return
    end = time.monotonic() + (math.inf if seconds is None else seconds)
    while not _lock(descriptor):
        if time.monotonic() >= end:
            raise WaitTimeoutError("another process is still working on the same job")
        time.sleep(_PAUSE)


def hold(path: Path, *, folder: bool = False) -> int | None:
    """Make a new file with mode 0600, or open a `folder`, that `clear_away` leaves alone until the result is closed.

    Return None if another process has removed it in the meantime: then make it again. Raises OSError.
    """
    if folder and WINDOWS:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path / _LOCK_IN, os.O_RDWR | os.O_CREAT, 0o600)
        return None
    flags = os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        return None
    if WINDOWS:
        return descriptor
    with contextlib.suppress(OSError):  # without locks in the file system, `clear_away` removes nothing
        _wait(descriptor)
    with contextlib.suppress(OSError):
        if os.path.samestat(path.lstat(), os.fstat(descriptor)):
            return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None, *, seconds: float | None = None) -> Iterator[None]:
    """Hold the lock on the file `path`, made with mode 0600 if it does not exist; wait until it is free.

    `waiting` is called once before such a wait. Raises BatchError if the file cannot be made, and WaitTimeoutError if
    it is not free within `seconds` (None: there is no limit).
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise BatchError(
            f"cannot make {path}: {exc.strerror}", hint="check the free space and the permissions there"
        ) from exc
    try:
        if not _lock(descriptor):
            if waiting is not None:
                waiting()
            _wait(descriptor, seconds)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the lock on a folder; wait until it is free. Raises OSError if there is no such folder.

    On Windows it is on a file in it. Where a file system has no locks, there is none.
    """
    if WINDOWS:
        with locked(folder / _LOCK_IN):
            yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            _wait(descriptor)
        yield
    finally:
        os.close(descriptor)


def clear_away(paths: Iterable[Path]) -> None:
    """Remove the files and folders of this user that no process holds."""
    for path in paths:
        with contextlib.suppress(OSError):
            if WINDOWS:
                # Neither can be done to what is open, or to a folder with an open file.
                _remove(path.rename(f"{path}-{secrets.token_hex(4)}") if path.is_dir() else path)
                continue
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                if is_own(os.fstat(descriptor)) and _lock(descriptor):
                    _remove(path)
            finally:
                os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock on the file `path`; False if there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor, shared=True)
    finally:
        os.close(descriptor)
