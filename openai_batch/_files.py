"""Write files so that they are whole or not there: a hidden part file, synced, then published in one step.

What a killed process left half done is cleared away by the next one that works at the same place: whatever is in
use is locked, and a killed process's lock is gone with it.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import BatchError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})


@contextlib.contextmanager
def part_file(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a hidden file beside `target` (0600, its folder made if need be); it is gone at the end.

    Those that killed processes left for the same target go too. Raises BatchError naming the path if it cannot be
    made, or if there is no room for what is written.
    """
    descriptor = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.part")
        clear_away(path for path in target.parent.iterdir() if left.fullmatch(path.name))
        while descriptor is None:
            part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
            descriptor = hold(part, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    except OSError as exc:
        raise BatchError(f"cannot write {target}: {exc.strerror}", hint="choose another place with -o") from exc
    try:
        with os.fdopen(descriptor, "w+b") as handle:
            yield handle, part
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        raise BatchError(f"cannot write {target}: {exc.strerror}", hint="make room, or choose another place") from exc
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def hold(path: Path, flags: int) -> int | None:
    """Open and lock what this process has just made, or makes by these flags, with mode 0600; return the descriptor.

    None if another process has cleared it away in the meantime: then it is to be made anew.
    """
    import fcntl

    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except FileNotFoundError:
        if flags & os.O_CREAT:
            raise
        return None
    with contextlib.suppress(OSError):  # not every file system has locks; nothing is cleared away there
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    with contextlib.suppress(OSError):
        if os.path.samestat(path.lstat(), os.fstat(descriptor)):
            return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Keep other processes out of what `path` stands for; `waiting` is called if one is at it now.

    A killed process's lock is gone with it. Raises BatchError if the file cannot be made.
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
    """Remove those of these files and folders that no process holds."""
    import fcntl

    for path in paths:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)


def publish(handle: BinaryIO, part: Path, target: Path, *, replace: bool = False, private: bool = False) -> None:
    """Make the part file's bytes durable and give them their name, all at once; `private` keeps mode 0600.

    Raises OutputExistsError if the name is taken by other bytes and `replace` is False.
    """
    handle.flush()
    if not private:
        os.fchmod(handle.fileno(), 0o666 & ~_umask())
    os.fsync(handle.fileno())
    if replace:
        part.replace(target)
    else:
        _link(part, target)
    sync_folder(target.parent)


def create(path: Path) -> BinaryIO:
    """Open a new file to write; a file that was there keeps its bytes under any other name that it has."""
    path.unlink(missing_ok=True)
    return path.open("wb")


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems cannot; the bytes themselves are synced
    finally:
        os.close(descriptor)


def stamp(path: Path) -> str:
    """Return what tells that a file was not written since: its size and time."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def check_target(target: Path, *, force: bool) -> None:
    """Raise BatchError if `target` cannot be written, before any work is done for it.

    It is an OutputExistsError if something is there that may not be replaced. A folder or a device never may.
    """
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "no regular file"
        raise OutputExistsError(f"{target} is {what}", hint="choose another place with -o; `-o -` is standard output")
    folder = next(parent for parent in target.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise BatchError(f"cannot write {target}: {folder} takes no files", hint="choose another place with -o")
    if not force and os.path.lexists(target):
        raise OutputExistsError(
            f"{target} is there already", hint="--force replaces it, or choose another name with -o"
        )


def _link(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except OSError as exc:
        if exc.errno in _NO_LINKS and not os.path.lexists(target):
            part.replace(target)  # to claim the name first could leave an empty file behind
            return
        if not isinstance(exc, FileExistsError):
            raise
    else:
        return
    if not (target.is_file() and filecmp.cmp(part, target, shallow=False)):
        raise OutputExistsError(
            f"{target} is there already", hint="--force replaces it, or choose another name with -o"
        )


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def as_path(name: str | os.PathLike[str]) -> Path:
    """Return `name` as a path, with `~` for the home folder."""
    return Path(name).expanduser()
