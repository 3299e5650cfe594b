"""Private folders and files: making them, and refusing those that other users could change.

On Windows nothing is checked, since profile folders are private there.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from openai_batch.errors import BatchError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_HAS_OWNERS = hasattr(os, "geteuid")  # whether files belong to users by number, as on POSIX systems

OTHERS_WRITE = stat.S_IWOTH
GROUP_AND_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_private(path: Path) -> Path:
    """Make a folder, and missing folders above it, with mode 0700. Raises BatchError."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:  # a umask can take rights from the owner too
                folder.chmod(0o700)
    except OSError as exc:
        raise BatchError(
            f"cannot make the folder {path}: {exc.strerror}",
            hint="OBATCH_STATE_DIR, OBATCH_CACHE_DIR and OBATCH_CONFIG can name other places",
        ) from exc
    return path


def check_own(path: Path, writers: int, hint: str, *, root_too: bool = False) -> None:
    """Raise UsageError if another user could change the file or folder at `path`, if there is one.

    It must belong to this user (or with `root_too` to root), and must not be a link of another one. `writers` are the
    mode bits that it must not have. `hint` is the remedy for what belongs to somebody else.
    """
    try:
        found, link = path.stat(), path.lstat()
    except OSError:
        return  # opening it will show what is wrong
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        return  # such as /dev/null
    if not is_own(found, root_too=root_too) or not is_own(link, root_too=True):
        raise UsageError(f"{path} belongs to another user", hint=hint)
    if _HAS_OWNERS and found.st_mode & writers:
        right = "go-w" if writers & stat.S_IWGRP else "o-w"
        raise UsageError(f"other users can change {path}", hint=f"if you trust what is in it: chmod {right} {path}")


def is_own(status: os.stat_result, *, root_too: bool = False) -> bool:
    """Return whether a file or folder belongs to this user, or with `root_too` to root."""
    return not _HAS_OWNERS or status.st_uid == os.geteuid() or (root_too and not status.st_uid)
