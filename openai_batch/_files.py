"""Write files so that they are whole or not there: a hidden part file, synced, then published in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .errors import BatchError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def part_file(target: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a hidden file beside `target` (0600, its folder made if need be); it is gone at the end.

    Raises BatchError naming the path if it cannot be made.
    """
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(part, flags, 0o600)
    except OSError as exc:
        raise BatchError(f"cannot write {target}: {exc.strerror}", hint="choose another place with -o") from exc
    try:
        with os.fdopen(descriptor, "w+b") as handle:
            yield handle, part
    finally:
        part.unlink(missing_ok=True)


def publish(handle: BinaryIO, part: Path, target: Path, *, replace: bool = False) -> None:
    """Make the part file's bytes durable and give them their name, all at once.

    Raises OutputExistsError if the name is taken and `replace` is False.
    """
    handle.flush()
    os.fsync(handle.fileno())
    mode = 0o666 & ~_umask()
    os.fchmod(handle.fileno(), mode)
    if replace:
        part.replace(target)
    else:
        _link(part, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some file systems cannot; the bytes themselves are synced
    finally:
        os.close(descriptor)


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
    except FileExistsError:
        raise OutputExistsError(
            f"{target} is there already", hint="--force replaces it, or choose another name with -o"
        ) from None
    except OSError:
        # A file system without hard links: claim the name first, so that nobody's file is replaced.
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            raise OutputExistsError(
                f"{target} is there already", hint="--force replaces it, or choose another name with -o"
            ) from None
        part.replace(target)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def as_path(name: str | os.PathLike[str]) -> Path:
    """Return `name` as a path, with `~` for the home folder."""
    return Path(name).expanduser()
