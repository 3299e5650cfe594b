"""Simulate Windows in this Python, for files only. Loaded at start by way of PYTHONPATH.

POSIX modules and functions are missing; `msvcrt.locking` locks bytes; a folder cannot be opened; a file that any
process of the simulation has open cannot be renamed, replaced or removed; `os.rename` replaces nothing; files that are
open for reading cannot be synced; names with a colon, with a dot at the end, or of a device cannot be created. The
rest, such as `os.name` and the path separator, is not changed. Linux only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess  # noqa: F401 - imported before `msvcrt` exists, by which it detects Windows
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import platformdirs  # noqa: F401 - imported before the modules that it needs are removed

with contextlib.suppress(ImportError):
    import psutil  # noqa: F401 - the same

MARK = b"OBATCH_TEST_WINDOWS=1"

_control, _real_open, _real_fsync = fcntl.fcntl, os.open, os.fsync
_SET_LOCK, _GET_FLAGS, _WRITE_LOCK, _UNLOCK = fcntl.F_OFD_SETLK, fcntl.F_GETFL, fcntl.F_WRLCK, fcntl.F_UNLCK

_MODULES = ("fcntl", "termios", "tty", "pty", "resource", "pwd", "grp", "readline", "syslog")
_FUNCTIONS = (
    *(
        "O_NOFOLLOW",
        "O_DIRECTORY",
        "O_NONBLOCK",
        "O_CLOEXEC",
        "O_TMPFILE",
        "chown",
        "fchmod",
        "fchown",
        "fork",
        "getegid",
    ),
    *("geteuid", "getgid", "getuid", "killpg", "mkfifo", "pread", "pwrite", "sched_getaffinity", "setsid"),
)
_BAD_NAME = re.compile(r'(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|.*[<>:"|?*].*|.*[. ]')
_CREATES = os.O_CREAT | os.O_TRUNC


def _locking(descriptor: int, mode: int, count: int) -> None:
    kind = _UNLOCK if mode == 0 else _WRITE_LOCK
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    try:
        _control(descriptor, _SET_LOCK, struct.pack("hhqqi", kind, os.SEEK_SET, place, count, 0))
    except OSError as exc:
        raise PermissionError(errno.EACCES, "Permission denied") from exc


def _open(path: Any, flags: int, *more: Any, **named: Any) -> int:
    if os.path.isdir(path):  # noqa: PTH112 - it may be bytes
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _real_open(path, flags, *more, **named)


def _fsync(fd: Any) -> None:
    number = fd if isinstance(fd, int) else fd.fileno()
    if _control(number, _GET_FLAGS) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _real_fsync(number)


def _processes() -> list[Path]:
    found = [Path("/proc/self")]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.name != str(os.getpid()) and MARK in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder)
        except OSError:
            continue
    return found


def _check_closed(path: Any) -> None:
    """Raise PermissionError if a process has this file open, or a file in this folder."""
    try:
        wanted = os.lstat(path)
    except OSError:
        return
    below = os.path.realpath(os.fsdecode(path)) + "/"
    for process in _processes():
        for descriptor in (process / "fd").iterdir() if (process / "fd").is_dir() else ():
            try:
                same = os.path.samestat(os.stat(descriptor), wanted)  # noqa: PTH116
                inside = os.readlink(descriptor).startswith(below)  # noqa: PTH115
            except OSError:
                continue
            if same or inside:
                raise PermissionError(errno.EACCES, "The process cannot access the file", os.fsdecode(path))


def _guard(name: str, paths: int, *, may_replace: bool = True) -> None:
    real = getattr(os, name)

    def guarded(*words: Any, **named: Any) -> Any:
        if named.get("dir_fd") is None:
            for path in words[:paths]:
                _check_closed(path)
            if not may_replace and os.path.lexists(words[1]):
                raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", words[1])
        return real(*words, **named)

    setattr(os, name, guarded)


def _audit(event: str, words: tuple[Any, ...]) -> None:
    made: Any = None
    if event == "open" and isinstance(words[2], int) and words[2] & _CREATES:
        made = words[0]
    elif event in ("os.rename", "os.link"):
        made = words[1]
    elif event == "os.mkdir":
        made = words[0]
    if isinstance(made, str | bytes | os.PathLike):
        name = os.path.basename(os.fsdecode(made))  # noqa: PTH119
        if _BAD_NAME.fullmatch(name):
            raise OSError(errno.EINVAL, "Invalid argument", os.fsdecode(made))


for _name in _MODULES:
    sys.modules[_name] = None  # type: ignore[assignment] # this is how an import is made to fail
_msvcrt: Any = ModuleType("msvcrt")
_msvcrt.LK_UNLCK, _msvcrt.LK_LOCK, _msvcrt.LK_NBLCK, _msvcrt.locking = 0, 1, 2, _locking
sys.modules["msvcrt"] = _msvcrt
for _name in _FUNCTIONS:
    if hasattr(os, _name):
        delattr(os, _name)
del signal.SIGHUP
os.open, os.fsync = _open, _fsync
for _name in ("unlink", "remove"):
    _guard(_name, 1)
_guard("rename", 2, may_replace=False)
_guard("replace", 2)
shutil._use_fd_functions = False  # type: ignore[attr-defined]
tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # type: ignore[assignment]
sys.addaudithook(_audit)
