"""Add the call of macOS that syncs a file to the disk itself. Loaded at start by way of PYTHONPATH.

Each sync is recorded in the file OBATCH_TEST_SYNCS: its kind, and the path. OBATCH_TEST_FULL_SYNC is the name of the
error with which the call fails, as it does on disks of other systems. Hard links fail here, with the error number of
macOS, which differs from that of other systems.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

_real_fcntl, _real_fsync = fcntl.fcntl, os.fsync
FULL = 51


def _note(how: str, descriptor: int) -> None:
    with Path(os.environ["OBATCH_TEST_SYNCS"]).open("a", encoding="utf-8") as log:
        log.write(f"{how} {os.readlink(f'/proc/self/fd/{descriptor}')}\n")  # noqa: PTH115


def _fcntl(fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    if cmd != FULL:
        return _real_fcntl(fd, cmd, arg)
    if wrong := os.environ.get("OBATCH_TEST_FULL_SYNC"):
        raise OSError(getattr(errno, wrong), wrong)
    _note("full", fd)
    _real_fsync(fd)
    return 0


def _fsync(fd: Any) -> None:
    _note("plain", fd if isinstance(fd, int) else fd.fileno())
    _real_fsync(fd)


def _link(_source: Any, target: Any) -> None:
    raise OSError(errno.ENOTSUP, "Operation not supported", os.fspath(target))


vars(errno).update(ENOTSUP=45, EOPNOTSUPP=102)
os.link = _link  # type: ignore[assignment]
fcntl.F_FULLFSYNC = FULL  # type: ignore[attr-defined]
fcntl.fcntl, os.fsync = _fcntl, _fsync
