"""Write files atomically: write a hidden part file, sync it, and rename it in one step.

A part file is locked while it is written. Part files that killed processes left are not locked any more, and the next
process that writes the same file removes them.
"""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import re
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from openai_batch.errors import BatchError, OutputExistsError, UsageError

from . import paths
from .locks import WINDOWS, clear_away, hold
from .object_store import exists_already, is_address
from .stored_file import StoredFile, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
_FORBIDDEN = re.compile(
    r'(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\..*)?|.*[\x00-\x1f<>:"|?*].*|.*[. ]',
    re.IGNORECASE,
)
"""Names with another meaning on Windows: devices, and names with a colon, or with a dot or a space at the end."""

_MAX_NAME = 255  # the most bytes that the name of a file may have, on most systems

_PATIENCE, _PAUSE = 2.0, 0.05
"""Seconds to wait on Windows for a virus scanner, which opens new files for a moment, and between two tries."""

_NO_FULL_SYNC = frozenset({errno.ENOTSUP, errno.ENOTTY, errno.EINVAL})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL})


@contextlib.contextmanager
def part_file(target: Target, *, make_folder: bool = True) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a hidden file next to `target` with mode 0600; give its handle and its path, and remove it at the end.

    If `target` is in an object store, the hidden file is in the state folder.

    Makes the folder if it does not exist, unless `make_folder` is False, and removes part files that killed processes
    left for the same target. Raises BatchError with the path if the file cannot be made, or if the disk is full.
    """
    descriptor = None
    if isinstance(target, StoredFile):
        target = paths.private_dir(paths.state_dir() / "spool") / "stored"
    try:
        if make_folder:
            target.parent.mkdir(parents=True, exist_ok=True)
        left = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.part")
        clear_away(path for path in target.parent.iterdir() if left.fullmatch(path.name) and path.is_file())
        while descriptor is None:
            part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
            descriptor = hold(part)
    except OSError as exc:
        raise BatchError(f"cannot write {target}: {exc.strerror}", hint="choose another place") from exc
    try:
        with os.fdopen(descriptor, "w+b") as handle:
            yield handle, part
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        raise BatchError(
            f"cannot write {target}: {exc.strerror}", hint="free some space, or choose another place"
        ) from exc
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def publish(handle: BinaryIO, part: Path, target: Target, *, replace: bool = False, private: bool = False) -> None:
    """Sync the part file, and give it the name `target` in one step; `private` keeps mode 0600.

    A target in an object store gets a copy, in one step. Raises OutputExistsError if `target` exists with other bytes
    and `replace` is False.
    """
    handle.flush()
    if isinstance(target, StoredFile):
        target.publish(part, replace=replace)
        return
    if not private and not WINDOWS:
        os.umask(mask := os.umask(0o077))  # it can only be read by setting it
        os.fchmod(handle.fileno(), 0o666 & ~mask)
    sync(handle.fileno())
    if WINDOWS:
        handle.close()  # an open file cannot be renamed there
    give_up = time.monotonic() + (_PATIENCE if WINDOWS else 0)
    while True:
        try:
            if replace:
                part.replace(target)
            else:
                _link(part, target)
            break
        except PermissionError as exc:
            if time.monotonic() >= give_up:
                hint = "close the program that has it open, or choose another place"
                raise BatchError(f"cannot write {target}: {exc.strerror}", hint=hint) from exc
            time.sleep(_PAUSE)
    sync_folder(target.parent)


def sync(descriptor: int) -> None:
    """Write an open file or folder to the disk itself. Raises OSError.

    On macOS `fsync` leaves it in the memory of the drive, and F_FULLFSYNC does not, where the file system has it.
    """
    if not WINDOWS:
        import fcntl

        if full := getattr(fcntl, "F_FULLFSYNC", None):
            try:
                fcntl.fcntl(descriptor, full)
            except OSError as exc:
                if exc.errno not in _NO_FULL_SYNC:
                    raise
            else:
                return
    os.fsync(descriptor)


def create(path: Path) -> BinaryIO:
    """Open a new file to write. A file of that name is removed first, so hard links to it keep their content."""
    path.unlink(missing_ok=True)
    return path.open("wb")


def sync_folder(folder: Path) -> None:
    """Sync `folder`, so that new names in it survive a power failure."""
    if WINDOWS:
        return  # it cannot open folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    except OSError:
        pass  # not every file system can; the files themselves are synced
    finally:
        os.close(descriptor)


def stamp(path: Target) -> str:
    """Return a string that changes when the file is written to: its size and its modification time."""
    if isinstance(path, StoredFile):
        return path.stamp()
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def check_target(target: Target, *, force: bool) -> None:
    """Raise BatchError if `target` cannot be written, before any work is done for it.

    Raises UsageError for a name that Windows does not allow, if this is Windows, and
    OutputExistsError if a file exists and `force` is False, or if `target` is a folder or a device.
    """
    if isinstance(target, StoredFile):
        target.check(force=force)
        return
    if WINDOWS and _FORBIDDEN.fullmatch(target.name):
        raise UsageError(f"{target}: Windows does not allow this name", hint="choose another name")
    if target.exists() and not target.is_file():
        what = "a folder" if target.is_dir() else "not a regular file"
        raise OutputExistsError(f"{target} is {what}", hint="choose another name; `-o -` is standard output")
    folder = next(parent for parent in target.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise BatchError(f"cannot write {target}: no file can be created in {folder}", hint="choose another place")
    if not force and os.path.lexists(target):
        raise exists_already(str(target))


def _link(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except FileExistsError:
        if not (target.is_file() and has_bytes(target, part)):
            raise exists_already(str(target)) from None
    except OSError as exc:
        if exc.errno not in _NO_LINKS or os.path.lexists(target):
            raise
        part.replace(target)  # making an empty file first could leave it behind


def has_bytes(target: Target, part: Path) -> bool:
    """Return whether a file has the same bytes as another one, which is on this machine."""
    return target.has(part) if isinstance(target, StoredFile) else filecmp.cmp(part, target, shallow=False)


def as_target(name: str) -> Target:
    """Return the file to write that a user named: an object in a store, or a path as `as_file` returns it."""
    return StoredFile(name) if is_address(name) else as_file(name)


def as_file(name: str | os.PathLike[str]) -> Path:
    """Return the name of a file to write as a path, as `as_path` does.

    Raises UsageError for a name that ends in /, and for `-`, which would be standard output.
    """
    if str(name) == "-":
        raise UsageError("standard output cannot be used here", hint="name a file; ./- is a file of that name")
    if str(name).endswith(("/", os.sep)):
        raise UsageError(f"{name} is a folder, not a file", hint=f"name a file in it, such as {name}results.jsonl")
    return as_path(name)


def as_path(name: str | os.PathLike[str]) -> Path:
    """Return `name` as a path, with `~` for the home folder. Raises UsageError for a URL or an invalid file name."""
    try:
        encoded = os.fsencode(name)
    except (TypeError, UnicodeEncodeError):
        encoded = b""
    too_long = any(len(part) > _MAX_NAME for part in encoded.split(os.fsencode(os.sep)))
    if isinstance(name, bytes) or not encoded or b"\0" in encoded or too_long:
        raise UsageError(f"{name!r} is not the name of a file", hint="give a path: a str, or a Path")
    if _URL.match(str(name)):
        raise UsageError(f"{name} is a URL, but only local files can be used here", hint="name a local file")
    with contextlib.suppress(RuntimeError):  # there is no such user
        return Path(name).expanduser()
    return Path(name)
