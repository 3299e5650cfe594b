"""Save a provider's file where the caller wants it: at a path, in a device, or in an open file."""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ._aside import place

if TYPE_CHECKING:
    from ._api import BatchApi

_MAX_NAME = 100


def save(api: BatchApi, file_id: str, target: str | os.PathLike[str] | IO[str] | IO[bytes]) -> None:
    """Download a file: to a path whole or not at all, its folder made if need be; or into an open file.

    What a path held before is moved aside if it differs. Raises DownloadError if what arrives is not the
    whole file.
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
        place(new, path)
    finally:
        new.unlink(missing_ok=True)


def safe_name(batch_id: str) -> str:
    """Return a batch id as part of a file name: a server's text never chooses a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", batch_id)[:_MAX_NAME].lstrip(".") or "batch"


def _copy(api: BatchApi, file_id: str, handle: Any) -> None:
    """Download into what cannot be rewound, such as standard output: by way of a temporary file."""
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
