"""Download a provider's file to a path, a device or an open file. An existing file becomes a backup."""

from __future__ import annotations

import filecmp
import io
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from openai_batch.files.backups import move_to_backup

from .warn import warn

if TYPE_CHECKING:
    from openai_batch.providers.port import BatchApi

_MAX_NAME = 100  # characters of a batch id that a file name has at most


def save(api: BatchApi, file_id: str, target: str | os.PathLike[str] | IO[str] | IO[bytes]) -> None:
    """Download a file to a path or into an open file. At a path it appears only when it is complete.

    The path's folder is made if it does not exist. An existing file with other content is renamed to a backup, with a
    warning. Raises DownloadError if the file does not arrive completely.
    """
    if not isinstance(target, str | os.PathLike):
        _copy(api, file_id, target)
        return
    path = Path(os.path.realpath(target))
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as device:
            _copy(api, file_id, device)
        return
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        api.download_to(file_id, new)
        replace_keeping_backup(new, path)
    finally:
        new.unlink(missing_ok=True)


def replace_keeping_backup(new: Path, path: Path) -> None:
    """Rename the file `new` to `path`, in the same folder. An existing file with other content becomes a backup."""
    backup = None
    if path.is_file() and path.stat().st_size:
        if filecmp.cmp(new, path, shallow=False):
            new.unlink()
            return
        backup = move_to_backup(path)
    new.replace(path)
    if backup is not None:
        drop_equal_backup(path, backup)


def drop_equal_backup(path: Path, backup: Path) -> None:
    """Remove `backup` if `path` has the same content, else give a warning that names both."""
    if path.is_file() and filecmp.cmp(path, backup, shallow=False):
        backup.unlink()
    else:
        warn(f"{path} had something else in it, which is now in {backup}")


def safe_name(batch_id: str) -> str:
    """Return a batch id without characters that are special in a path, for use in a file name."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", batch_id)[:_MAX_NAME].lstrip(".") or "batch"


def _copy(api: BatchApi, file_id: str, handle: Any) -> None:
    """Download into an open file, through a temporary one: the target may not be seekable, such as standard output."""
    with tempfile.TemporaryFile() as copy:
        api.download(file_id, copy)
        copy.seek(0)
        binary = getattr(handle, "buffer", None)
        if binary is None and isinstance(handle, io.TextIOBase):
            for line in copy:
                handle.write(line.decode("utf-8", "replace"))
        else:
            handle.flush()
            shutil.copyfileobj(copy, binary or handle)
        handle.flush()
