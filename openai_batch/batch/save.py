"""Save a provider's file to a path, a device or an open file, and keep what was there as a backup."""

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
    from openai_batch.providers.api import BatchApi

_MAX_NAME = 100


def save(api: BatchApi, file_id: str, target: str | os.PathLike[str] | IO[str] | IO[bytes]) -> None:
    """Download a file to a path, completely or not at all, or into an open file.

    The path's folder is made if need be; a different file that is there is renamed to a backup first. Raises
    DownloadError if the file does not arrive completely.
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
    """Give the finished file `new`, in the same folder, the name `path`; other content that is there gets a backup."""
    if path.is_file() and path.stat().st_size:
        if filecmp.cmp(new, path, shallow=False):
            new.unlink()
            return
        backup = move_to_backup(path)
        new.replace(path)
        if backup is not None:
            drop_equal_backup(path, backup)
    else:
        new.replace(path)


def drop_equal_backup(path: Path, backup: Path) -> None:
    """Remove `backup` if `path` now has the same bytes, else warn where the earlier content is."""
    if path.is_file() and filecmp.cmp(path, backup, shallow=False):
        backup.unlink()
    else:
        warn(f"{path} held something else, which is now {backup}")


def safe_name(batch_id: str) -> str:
    """Return a batch id as part of a file name: a server's text never chooses a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", batch_id)[:_MAX_NAME].lstrip(".") or "batch"


def _copy(api: BatchApi, file_id: str, handle: Any) -> None:
    """Download into a file that cannot seek, such as standard output, through a temporary file."""
    with tempfile.TemporaryFile() as spool:
        api.download(file_id, spool)
        spool.seek(0)
        binary = getattr(handle, "buffer", None)
        if binary is None and isinstance(handle, io.TextIOBase):
            for line in spool:
                handle.write(line.decode())
        else:
            handle.flush()
            shutil.copyfileobj(spool, binary or handle)
        handle.flush()
